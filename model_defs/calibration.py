"""From logits to a probability and a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

POOLINGS = ("mean", "max", "top_third")
DIGITS = 6  # of a probability in an answer; below this the order of float sums would show


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of the margin between the two logits; the defaults leave softmax as it is.

    Attributes:
        temperature: divides the margin; above 1 makes probabilities milder.
        bias: is added to the scaled margin; above 0 makes "fake" likelier.
        threshold: p_fake from which the prediction is Fake.
        pooling: one of `POOLINGS`: how the scores of frames or windows become the clip's. `mean`: as the network fuses
            them; `max`: the most suspicious; `top_third`: the mean of the most suspicious third.
    """

    temperature: float = 1.0
    bias: float = 0.0
    threshold: float = 0.5
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"calibration temperature is {self.temperature}; it must be above 0")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"calibration threshold is {self.threshold}; it must lie between 0 and 1")

        if self.pooling not in POOLINGS:
            raise ValueError(f"calibration pooling is {self.pooling!r}; allowed: {', '.join(POOLINGS)}")

    def pool(self, logits: np.ndarray, segment_logits: np.ndarray | None) -> np.ndarray:
        """Logits (1, 2) of a clip.

        Args:
            logits: as the network fuses them, (1, 2).
            segment_logits: of frames or windows, (n, 2); None is not told, and leaves the network's.
        """
        if self.pooling == "mean" or segment_logits is None or len(segment_logits) < 2:
            return logits
        n_kept = 1 if self.pooling == "max" else -(-len(segment_logits) // 3)
        suspicious = np.argsort(segment_logits[:, 0] - segment_logits[:, 1], kind="stable")[:n_kept]
        return segment_logits[suspicious].mean(axis=0, keepdims=True)

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """P(fake) of each row.

        Args:
            logits: shape (N, 2), class 0 real and class 1 fake.

        Returns:
            shape (N,), float64 between 0 and 1.
        """
        logits = np.asarray(logits, dtype=np.float64)
        margin = (logits[:, 1] - logits[:, 0]) / self.temperature + self.bias
        # tanh form of the logistic function: it cannot overflow.
        return 0.5 * (1.0 + np.tanh(0.5 * margin))

    def to_dict(self) -> dict[str, float | str]:
        return asdict(self)


def rounded(values: np.ndarray) -> list[float]:
    """The values (N,) as an answer shows them, without a zero below zero."""
    return [round(float(value), DIGITS) + 0.0 for value in values]
