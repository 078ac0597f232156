"""One modality, from an opened file to P(fake): the code that everybody who scores goes through."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from model_defs.calibration import Calibration, rounded
from model_defs.decoding.media import Media
from model_defs.errors import DetectionError, ErrorCode, ModelLoadError
from model_defs.explanation.attribution import audio_heatmap, audio_scores, explain_video
from model_defs.inference.options import DetectOptions
from model_defs.networks.artifact import MANIFEST_FILE, Artifact, load_artifact
from model_defs.networks.ood import OodScale, ood_warnings
from model_defs.preprocessing.audio import AudioSample, decode_audio_sample
from model_defs.preprocessing.audio_features import create_frontend
from model_defs.preprocessing.face_detection import YUNET_VARIABLE, FaceDetector, create_detector
from model_defs.preprocessing.video import VideoSample, decode_video_sample, video_tensor
from model_defs.spec import AudioSpec


@dataclass(frozen=True)
class Score:
    """P(fake) of one clip in one modality, and what the answer says about it."""

    p_fake: float
    details: dict[str, Any]
    warnings: tuple[str, ...] = ()
    timings_s: dict[str, float] | None = None


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

    def _anomaly(self, distances: np.ndarray | None) -> tuple[dict[str, Any], Sequence[str]]:
        """Details and warnings on how unlike the training clips one input is, by its rows' distances (n,)."""
        scale = OodScale.from_record(self.artifact.meta, self.artifact.variant)
        if distances is None or scale is None:
            return {}, ()
        anomaly = scale.describe(float(distances.mean()))
        return {"anomaly": anomaly}, ood_warnings(anomaly, self.modality)

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

    def _forward(self, inputs: Sequence[torch.Tensor]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Logits (n, 2), attention (n, T) and distance (n,) from the training clips, of each input (n, T, ...).

        On CUDA inputs of one shape share a pass. On the CPU each has its own: it
        costs nothing there, and no answer depends on who its neighbours were.
        """
        groups = defaultdict(list)
        for index, tensor in enumerate(inputs):
            groups[tensor.shape[1:] if self.device != "cpu" else index].append(index)
        results: list[Any] = [None] * len(inputs)
        for members in groups.values():
            lengths = [len(inputs[index]) for index in members]
            with _one_thread() if self.device == "cpu" else nullcontext():
                outputs = self.artifact.forward_with_distance(torch.cat([inputs[index] for index in members]))
            parts = [[None] * len(members) if output is None else output.split(lengths) for output in outputs]
            for index, logits, attention, distances in zip(members, *parts, strict=True):
                if not torch.isfinite(logits).all():
                    raise DetectionError(ErrorCode.INTERNAL, f"the {self.modality} network gave no finite score")
                results[index] = logits.numpy(), attention.numpy(), None if distances is None else distances.numpy()
        return results


class VideoPredictor(Predictor):
    """Faces over time."""

    modality = "video"
    sample_type = VideoSample

    def sampling(self, options: DetectOptions) -> dict[str, Any]:
        spec = self.artifact.spec
        by_count = None if options.interval_s else options.frames or spec.n_frames
        detector = options.face_detector or spec.face_detector
        return {
            "n_frames": by_count,
            "interval_s": options.interval_s,
            "face_detector": detector,
            "face_model": os.environ.get(YUNET_VARIABLE) if detector == "yunet" else None,
        }

    def sample(self, media: Media, options: DetectOptions) -> VideoSample:
        media.require_video()  # before weights are loaded for nothing
        sampling = self.sampling(options)
        detector = _face_detector(sampling["face_detector"])
        wanted = {name: sampling[name] for name in ("n_frames", "interval_s")}
        return decode_video_sample(media, self.artifact.spec, detector, **wanted)

    def check(self, sample: VideoSample, options: DetectOptions) -> None:
        if options.require_face and not sample.n_faces:
            message = f"no face was found in {len(sample.times_s)} frames, and require_face asks for one"
            raise DetectionError(ErrorCode.NO_FACE, message)

    def score(self, samples: Sequence[VideoSample]) -> list[Score]:
        started = time.perf_counter()
        outputs = self._forward([video_tensor(sample.crops, self.artifact.spec)[None] for sample in samples])
        forward_s = (time.perf_counter() - started) / len(samples)
        return [self._score(sample, *output, forward_s) for sample, output in zip(samples, outputs, strict=True)]

    def _score(
        self,
        sample: VideoSample,
        logits: np.ndarray,
        attention: np.ndarray,
        distances: np.ndarray | None,
        forward_s: float,
    ) -> Score:
        p_fake = float(self.calibration.p_fake(logits)[0])
        n_frames = len(sample.times_s)
        warnings = []
        if not sample.n_faces:
            warnings.append(f"no face was found in {n_frames} frames; the centre of the picture was scored")
        elif sample.n_faces < n_frames:
            warnings.append(f"{n_frames - sample.n_faces} of {n_frames} frames show no face; their centre was scored")
        if n_frames == 1:
            warnings.append("only one frame could be sampled; nothing can be said about motion")
        anomaly, doubts = self._anomaly(distances)
        details = {
            "frames": n_frames,
            "faces": sample.n_faces,
            "crops": list(sample.sources),
            "frame_times_s": [round(float(time_s), 3) for time_s in sample.times_s],
            "attention": rounded(attention[0]),
            **anomaly,
        }
        timings_s = {"faces": sample.faces_s, "forward": forward_s}
        return Score(p_fake, details, (*warnings, *doubts), timings_s)

    def _explain(self, sample: VideoSample, parts: tuple[str, ...]) -> dict[str, Any]:
        return explain_video(self.fp32, sample, self.calibration, parts)

    def warm_up(self) -> None:
        spec = self.artifact.spec
        crops = np.zeros((spec.n_frames, spec.size_px, spec.size_px, 3), np.uint8)
        detector = _face_detector(spec.face_detector)
        detector.detect(np.zeros((spec.detect_size_px, spec.detect_size_px, 3), np.uint8))
        for _ in range(3):  # TorchScript's profiling executor specialises on the first passes
            self._forward([video_tensor(crops, spec)[None]])


class AudioPredictor(Predictor):
    """Spectra over time."""

    modality = "audio"
    sample_type = AudioSample

    def sampling(self, options: DetectOptions) -> dict[str, Any]:
        return {}

    def sample(self, media: Media, options: DetectOptions) -> AudioSample:
        media.require_audio()
        spec = self.artifact.spec
        return decode_audio_sample(media, spec, _frontend(spec))

    def score(self, samples: Sequence[AudioSample]) -> list[Score]:
        started = time.perf_counter()
        outputs = self._forward([torch.as_tensor(sample.features) for sample in samples])
        forward_s = (time.perf_counter() - started) / len(samples)
        return [
            self._score(sample, logits, distances, forward_s)
            for sample, (logits, _, distances) in zip(samples, outputs, strict=True)
        ]

    def _score(self, sample: AudioSample, logits: np.ndarray, distances: np.ndarray | None, forward_s: float) -> Score:
        # Windows are fused before calibration: the temperature is fitted on clips, not on windows.
        p_fake = float(self.calibration.p_fake(logits.mean(axis=0, keepdims=True))[0])
        anomaly, doubts = self._anomaly(distances)
        details = {
            "windows": len(logits),
            "window_starts_s": [round(float(start_s), 3) for start_s in sample.starts_s],
            "window_p_fake": rounded(self.calibration.p_fake(logits)),
            **anomaly,
        }
        timings_s = {"features": sample.features_s, "forward": forward_s}
        return Score(p_fake, details, (*sample.warnings, *doubts), timings_s)

    def _explain(self, sample: AudioSample, parts: tuple[str, ...]) -> dict[str, Any]:
        record: dict[str, Any] = {"variant": self.fp32.variant}
        if "scores" in parts:
            record |= audio_scores(self.fp32, sample, self.calibration)
        if "heatmap" in parts:
            record["heatmap"] = audio_heatmap(self.fp32, sample, self.calibration)
        return record

    def warm_up(self) -> None:
        spec = self.artifact.spec
        for n_windows in (1, 1, 3, 3):  # TorchScript specialises on one window and on several
            features = _frontend(spec)(torch.zeros(n_windows, spec.n_samples))
            self._forward([features])


PREDICTORS = {predictor.modality: predictor for predictor in (VideoPredictor, AudioPredictor)}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: sums split over several differ in the last bits, and so would answers by machine."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@cache
def _face_detector(name: str) -> FaceDetector:
    return create_detector(name)


@cache
def _frontend(spec: AudioSpec) -> torch.nn.Module:
    return create_frontend(spec)
