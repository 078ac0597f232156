"""How unlike the training clips an input is: a distance beside the logits, and what a caller makes of it.

The distance is Mahalanobis', from the nearer of the two classes, of what the classifier reads: K. Lee, K. Lee, H. Lee,
J. Shin, "A simple unified framework for detecting out-of-distribution samples and adversarial attacks" (2018). It is
computed inside the exported network, and costs some ten thousand multiplications.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

WARN_PERCENTILE = 99.0  # from which an answer warns; of some hundred clips that is beyond all but one


class MahalanobisDistance(nn.Module):
    """Distance of a vector from the training clips.

    The classes share one covariance: `directions` are its few strong axes, and across them it is alike every way.

    Args:
        means: of each class, (2, D).
        directions: (K, D); the squared projections on them are what `precision` alone counts too much.
        precision: one over the variance outside of the strong axes.
    """

    def __init__(self, means: Tensor, directions: Tensor, precision: float) -> None:
        super().__init__()
        self.register_buffer("means", means.float())
        self.register_buffer("directions", directions.float())
        self.precision = float(precision)

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., D) -> (...): 0 at a class's mean; about the root of D for a clip like those of training."""
        apart = vectors.detach().float().unsqueeze(-2) - self.means
        along = torch.matmul(apart, self.directions.t())
        squared = apart.square().sum(-1) * self.precision - along.square().sum(-1)
        return squared.clamp(min=0.0).amin(-1).sqrt()


class ClassifierWithDistance(nn.Module):
    """A classifier whose last column is the distance: (..., D) -> (..., 3), the two logits first.

    Whatever a network does with its logits it does with the distance: where it averages frames, both are averaged.
    """

    def __init__(self, classifier: nn.Module, distance: MahalanobisDistance) -> None:
        super().__init__()
        self.classifier = classifier
        self.distance = distance

    def forward(self, vectors: Tensor) -> Tensor:
        logits = self.classifier(vectors)
        return torch.cat([logits, self.distance(vectors).unsqueeze(-1).to(logits.dtype)], dim=-1)


def with_distance(net: nn.Module, distance: MahalanobisDistance) -> nn.Module:
    """A copy of a network that gives scores (B, 3): its logits, and the distance.

    Args:
        net: of any variant, with a module `classifier` as its last; it is left as it is.
    """
    copied = copy.deepcopy(net)
    copied.classifier = ClassifierWithDistance(copied.classifier, copy.deepcopy(distance)).eval()
    return copied


@dataclass(frozen=True)
class OodScale:
    """What distances mean: the distances of validation clips at percentiles 0, 1, ... 100, rising."""

    distances: tuple[float, ...]

    @classmethod
    def from_record(cls, record: dict[str, Any], variant: str) -> OodScale | None:
        """The scale in an artifact's record; None where the model was published without one.

        Args:
            variant: int8 has one of its own; fp16 has fp32's.
        """
        scales = record.get("anomaly_percentiles", {})
        found = scales.get(variant) or scales.get("fp32")
        return cls(tuple(found)) if found else None

    def percentile(self, distance: float) -> float:
        """Share of validation clips that are nearer, in percent, 0 to 100."""
        return float(np.interp(distance, self.distances, np.linspace(0, 100, len(self.distances))))

    def trust(self, distance: float) -> float:
        """Factor of a modality's fusion weight: 1 up to the 99th percentile, from there on (d99 / distance) squared.

        Continuous, so that no verdict turns where the warning begins; at twice the distance of nearly all validation
        clips a modality counts for a quarter.
        """
        edge = float(np.interp(WARN_PERCENTILE, np.linspace(0, 100, len(self.distances)), self.distances))
        return 1.0 if distance <= edge else (edge / distance) ** 2

    def warns(self, distance: float) -> bool:
        """Whether an answer says so in words."""
        return self.percentile(distance) >= WARN_PERCENTILE

    def describe(self, distance: float) -> dict[str, float]:
        """Member `anomaly` of an answer."""
        return {"score": round(distance, 3), "percentile": round(self.percentile(distance), 1)}


def ood_warnings(anomaly: dict[str, float], modality: str) -> Sequence[str]:
    """A sentence for a person where an input is unlike what the model knows."""
    if anomaly["percentile"] < WARN_PERCENTILE:
        return ()
    return (
        f"the {modality} is unlike the clips that the model was trained and measured on (anomaly score "
        f"{anomaly['score']:g}, above {WARN_PERCENTILE:g} % of them): what the model says of it counts for little",
    )
