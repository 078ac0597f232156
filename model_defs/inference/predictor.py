"""One modality, from an opened file to P(fake): the code that everybody who scores goes through."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from model_defs.calibration import Calibration
from model_defs.decoding.media import Media
from model_defs.errors import DetectionError, ErrorCode, ModelLoadError
from model_defs.inference.options import DetectOptions
from model_defs.networks.artifact import MANIFEST_FILE, Artifact, Output, load_artifact
from model_defs.networks.ood import OodScale, ood_warnings
from model_defs.notes import Note


@dataclass(frozen=True)
class Score:
    """P(fake) of one clip in one modality, and what the answer says about it.

    Attributes:
        trust: factor of its fusion weight, above 0 to 1; see `OodScale.trust`.
    """

    p_fake: float
    details: dict[str, Any]
    warnings: tuple[Note, ...] = ()
    timings_s: dict[str, float] | None = None
    trust: float = 1.0


class Predictor(ABC):
    """Preprocessing, network and calibration of one modality.

    The artifact is loaded when it is first needed, under a lock.

    Args:
        path: an artifact directory, a `.pt` artifact, or a training checkpoint.
        device: `cpu` or `cuda[:n]`.
        variant: `auto`, `fp32`, `int8` or `fp16`.
    """

    modality: ClassVar[str]
    sample_type: ClassVar[type]  # the dataclass that `sample` gives

    def __init__(self, path: Path | str, device: str = "cpu", variant: str = "auto") -> None:
        self.path = Path(path)
        self.device = device
        self.variant = variant
        self._artifact: Artifact | None = None
        self._fp32: Artifact | None = None
        self._lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        return self._artifact is not None

    @property
    def artifact(self) -> Artifact:
        """The loaded model; raises ModelLoadError where there is none of this modality at `path`."""
        with self._lock:
            if self._artifact is None:
                self._artifact = self._load(self.variant)
            return self._artifact

    @property
    def fp32(self) -> Artifact:
        """What gradients go through: the loaded model where it is fp32, else that variant, loaded for it once."""
        if self.artifact.variant == "fp32":
            return self.artifact
        with self._lock:
            if self._fp32 is None:
                self._fp32 = self._load("fp32")
            return self._fp32

    def _load(self, variant: str) -> Artifact:
        try:
            artifact = load_artifact(self.path, self.device, variant)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelLoadError(f"the {self.modality} model cannot be loaded from {self.path}: {error}") from error
        if (found := artifact.spec.modality) != self.modality:
            raise ModelLoadError(f"{self.path} holds a {found} model; {self.modality} was expected")
        return artifact

    @property
    def calibration(self) -> Calibration:
        return Calibration(**self.artifact.meta.get("calibration", {}))

    def _anomaly(self, distances: np.ndarray | None) -> tuple[dict[str, Any], tuple[Note, ...], float]:
        """Details, warnings and trust by how unlike the training clips one input is, by its rows' distances (n,)."""
        scale = OodScale.from_record(self.artifact.meta, self.artifact.variant)
        if distances is None or scale is None:
            return {}, (), 1.0
        distance = float(distances.mean())
        anomaly = scale.describe(distance)
        doubts = tuple(Note(f"ood_{self.modality}", message) for message in ood_warnings(anomaly, self.modality))
        return {"anomaly": anomaly}, doubts, scale.trust(distance)

    def identity(self) -> list[object]:
        """What the scores depend on, told without loading it: the artifact, the variant asked for, kind of device."""
        try:
            if self.path.is_dir():  # its manifest holds the digests of all that lies beside it
                artifact = (self.path / MANIFEST_FILE).read_text(encoding="utf-8")
            else:
                artifact = [str(self.path), self.path.stat().st_size, self.path.stat().st_mtime_ns]
        except OSError:  # which is told when it is loaded
            artifact = str(self.path)
        return [self.modality, artifact, self.variant, self.device.partition(":")[0]]

    @abstractmethod
    def sampling(self, options: DetectOptions) -> dict[str, Any]:
        """Which part of a file `sample` takes: JSON values, the options resolved against the model's own."""

    @abstractmethod
    def sample(self, media: Media, options: DetectOptions) -> Any:
        """What the network sees of one file; raises DetectionError."""

    def check(self, sample: Any, options: DetectOptions) -> None:  # noqa: B027
        """Raises DetectionError where the caller asks more of a sample than it holds."""

    def describe_unscored(self, sample: Any) -> dict[str, Any]:
        """What the answer says of a sample that `check` refused: its modality's entry, which has no weight."""
        return {}

    @abstractmethod
    def score(self, samples: Sequence[Any]) -> list[Score]:
        """P(fake) of each sample, in order."""

    def explain(self, sample: Any, parts: tuple[str, ...]) -> dict[str, Any]:
        """What the verdict on a sample rests on: its modality's part of the `explanation` of an answer.

        Args:
            parts: of `model_defs.inference.options.EXPLANATION_PARTS`.

        Raises:
            ModelLoadError: gradients need the fp32 variant, and it is not there.
        """
        with _one_thread() if self.device == "cpu" else nullcontext():
            return self._explain(sample, parts)

    @abstractmethod
    def _explain(self, sample: Any, parts: tuple[str, ...]) -> dict[str, Any]: ...

    @abstractmethod
    def warm_up(self) -> None:
        """Loads the artifact and runs it, so that no request pays for the first, slow passes."""

    def _pooled(self, logits: np.ndarray, segment_logits: np.ndarray | None) -> float:
        """P(fake) of a clip by the rule that its calibration names.

        Args:
            logits: of the clip as its network fuses it, (1, 2).
            segment_logits: of its frames or windows, (n, 2); None where the variant does not tell.
        """
        return float(self.calibration.p_fake(self.calibration.pool(logits, segment_logits))[0])

    def _forward(self, inputs: Sequence[torch.Tensor]) -> list[Output]:
        """What the network says of each input (n, T, ...).

        On CUDA inputs of one shape share a pass. On the CPU each has its own: it
        costs nothing there, and no answer depends on who its neighbours were.
        """
        groups = defaultdict(list)
        for index, tensor in enumerate(inputs):
            groups[tensor.shape[1:] if self.device != "cpu" else index].append(index)
        results: list[Any] = [None] * len(inputs)
        for members in groups.values():
            with _one_thread() if self.device == "cpu" else nullcontext():
                output = self.artifact.judge(torch.cat([inputs[index] for index in members]))
            if not np.isfinite(output.logits).all():
                raise DetectionError(ErrorCode.INTERNAL, f"the {self.modality} network gave no finite score")
            start = 0
            for index in members:
                results[index] = output.rows(start, start := start + len(inputs[index]))
        return results


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: sums split over several differ in the last bits, and so would answers by machine."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
