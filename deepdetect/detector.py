"""The detector as a Python object: the server's answers without a server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepdetect.resources import ARTIFACTS_DIR, WEIGHTS_DIR
from model_defs.caching.detection_cache import DetectionCache
from model_defs.caching.settings import CacheSettings
from model_defs.errors import DetectionError
from model_defs.inference.engine import Engine, Item, default_device
from model_defs.inference.fusion import DEFAULT_WEIGHTS
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor
from model_defs.inference.predictors import PREDICTORS
from model_defs.inference.settings import EngineSettings
from model_defs.limits import Limits
from model_defs.networks.artifact import MANIFEST_FILE

RUN_EXPORT_SUFFIX = ".exported"  # what a training run writes beside its checkpoint, and in that folder
RUN_ARTIFACT = "artifact"

PathLike = str | os.PathLike[str]


class DeepfakeDetector:
    """Tells real video and speech from synthetic, in this process.

    Answers and refusals are those of the served models. Weights are loaded when
    they are first needed.

    Args:
        video_model_path: artifact directory, `.pt` artifact, training checkpoint or the
            `.exported` folder that a run leaves beside it; None takes the model that the project ships.
        audio_model_path: likewise.
        device: `cpu`, `cuda` or `cuda:n`; None takes CUDA where there is one.
        use_quantization: True takes the reduced-precision variant (int8 on the
            CPU, fp16 on CUDA), False fp32, None what was measured best. Of a checkpoint
            True takes the artifact that its run exported beside it, else it is reduced in memory.
        use_cache: remember answers by content and options.
        max_cache_size: answers remembered, and as many preprocessed samples.
        limits: ceilings on one file.
        fusion_weights: modality -> weight in the ensemble.
    """

    def __init__(
        self,
        video_model_path: PathLike | None = None,
        audio_model_path: PathLike | None = None,
        device: str | None = None,
        use_quantization: bool | None = None,
        use_cache: bool = True,
        max_cache_size: int = 100,
        *,
        limits: Limits = Limits(),
        fusion_weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    ) -> None:
        self.device = device or default_device()
        self.use_quantization = use_quantization
        settings = CacheSettings(max_items=max_cache_size if use_cache else 0, store="memory")
        self.cache = DetectionCache(settings) if settings.is_on else None
        paths = {"video": video_model_path, "audio": audio_model_path}
        self.predictors = {
            modality: PREDICTORS[modality](self._model_path(path, modality), self.device, self._variant())
            for modality, path in paths.items()
        }
        engine_settings = EngineSettings(limits=limits, fusion_weights=fusion_weights)
        members = {modality: {modality: predictor} for modality, predictor in self.predictors.items()}
        members["ensemble"] = self.predictors
        self._engines = {
            name: Engine(predictors, name=name, cache=self.cache, settings=engine_settings)
            for name, predictors in members.items()
        }

    def detect_video(self, path: PathLike, **options: Any) -> dict[str, Any]:
        """Judges the video track of one file.

        Args:
            path: the file.
            options: see `DetectOptions`, such as `frames=16`.

        Returns:
            The answer of the request contract.

        Raises:
            DetectionError: the file or an option is refused; `.code` says why.
            ModelLoadError: the model cannot be loaded.
        """
        return self._detect("video", path, options)

    def detect_audio(self, path: PathLike, **options: Any) -> dict[str, Any]:
        """Judges the audio track of one file; as `detect_video` otherwise."""
        return self._detect("audio", path, options)

    def detect(self, path: PathLike, **options: Any) -> dict[str, Any]:
        """Judges every track that the file has, and fuses them; as `detect_video` otherwise."""
        return self._detect("ensemble", path, options)

    def detect_batch(self, paths: Iterable[PathLike], modality: str = "auto", **options: Any) -> list[dict[str, Any]]:
        """Judges many files; a file that is refused costs its own place only.

        Args:
            paths: the files.
            modality: `auto` fuses every track of a file; `video` or `audio` takes that one.

        Returns:
            One answer a file, in order; a refused file has
            `{"error": {...}, "file_name": ...}` in its place.

        Raises:
            DetectionError: an option is not allowed.
        """
        return list(self.detect_each(paths, modality, **options))

    def detect_each(
        self, paths: Iterable[PathLike], modality: str = "auto", *, batch_size: int = 2, **options: Any
    ) -> Iterator[dict[str, Any]]:
        """`detect_batch`, one answer after the other as they are ready.

        Args:
            batch_size: files decoded side by side.
        """
        parsed = DetectOptions.parse({"modality": modality, **options})
        files = [Path(path) for path in paths]
        for start in range(0, len(files), batch_size):
            items = [Item(path, _file_name(path), parsed) for path in files[start : start + batch_size]]
            for item, answer in zip(items, self.detect_items(items, modality), strict=True):
                if isinstance(answer, DetectionError):
                    answer = {**answer.to_dict(), "file_name": item.file_name}
                yield answer

    def detect_items(self, items: Sequence[Item], modality: str = "auto") -> list[dict[str, Any] | DetectionError]:
        """Judges files at hand as bytes or paths, side by side, each with options of its own.

        Args:
            items: the files.
            modality: as in `detect_batch`.

        Returns:
            An answer a file, in order; an error stands in the place of a file that cannot be judged.
        """
        return self._engines["ensemble" if modality == "auto" else modality].detect_batch(items)

    def get_model_info(self) -> dict[str, Any]:
        """Device, precision, cache counts and, by modality, what is known of each model.

        Weights are not loaded for this; a model not used yet shows its path only.
        """
        return {
            "device": self.device,
            "quantization_enabled": self._variant() in ("int8", "fp16"),
            "variant": self._variant(),
            "cache_size": len(self.cache.results) if self.cache is not None else 0,
            "cache": self.cache.stats() if self.cache is not None else None,
            "models": {modality: _describe(predictor) for modality, predictor in self.predictors.items()},
        }

    def _detect(self, engine: str, path: PathLike, options: Mapping[str, Any]) -> dict[str, Any]:
        path = Path(path)
        (answer,) = self._engines[engine].detect_batch([Item(path, _file_name(path), DetectOptions.parse(options))])
        if isinstance(answer, DetectionError):
            raise answer
        return answer

    def _model_path(self, path: PathLike | None, modality: str) -> Path:
        if path is None:
            return _shipped(modality)
        path = Path(path)
        if path.is_dir():
            return path / RUN_ARTIFACT if (path / RUN_ARTIFACT / MANIFEST_FILE).exists() else path
        manifest = path.with_suffix(RUN_EXPORT_SUFFIX) / RUN_ARTIFACT / MANIFEST_FILE
        if not self.use_quantization or not path.exists() or not manifest.exists():
            return path
        is_current = manifest.stat().st_mtime_ns >= path.stat().st_mtime_ns  # else training went on without an export
        return manifest.parent if is_current else path

    def _variant(self) -> str:
        if self.use_quantization is None:
            return "auto"
        if not self.use_quantization:
            return "fp32"
        return "int8" if self.device == "cpu" else "fp16"


def _file_name(path: Path) -> str:
    """The last part of a path as text that can be printed; bytes that are no UTF-8 are shown as `\\xe9`."""
    return path.name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _shipped(modality: str) -> Path:
    """The project's own model: its exported artifact, else the weights it is exported from."""
    exported = ARTIFACTS_DIR / modality
    return exported if exported.is_dir() else WEIGHTS_DIR / modality / "model.safetensors"


def _describe(predictor: Predictor) -> dict[str, Any]:
    record = {"path": str(predictor.path), "loaded": predictor.loaded}
    if predictor.loaded:
        artifact = predictor.artifact
        keys = ("network", "weights_sha256", "calibration", "metrics", "spec")
        record |= {"variant": artifact.variant, **{key: artifact.meta.get(key) for key in keys}}
    return record
