"""A batch of files in, an answer or a refusal for each out.

The local detector and every handler are thin layers over `Engine.detect_batch`.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from model_defs.cache import ModelCache
from model_defs.containers import check_size
from model_defs.errors import DetectionError, ErrorCode, ModelLoadError
from model_defs.fusion import DEFAULT_WEIGHTS, fuse
from model_defs.limits import Limits
from model_defs.media import Media
from model_defs.options import DetectOptions
from model_defs.scorer import DIGITS, SCORERS, Score, Scorer


@dataclass(frozen=True)
class Item:
    """One file to be judged.

    Attributes:
        data: the file's bytes, or its path.
        file_name: echoed in the answer; never used to tell what the file is.
        options: what the caller asked for.
    """

    data: bytes | Path
    file_name: str = ""
    options: DetectOptions = DetectOptions()


@dataclass
class _Prepared:
    """A decoded file on its way to the networks."""

    item: Item
    sha256: str
    file_type: str
    decode_s: float
    samples: dict[str, Any]
    refusals: dict[str, DetectionError]
    warnings: list[str]
    scores: dict[str, Score] = field(default_factory=dict)


class Engine:
    """Decodes, scores and fuses.

    Args:
        scorers: modality -> scorer. With one it is a video or audio model, with both the ensemble.
        name: model name in the answers.
        version: model version in the answers.
        limits: ceilings on one file.
        fusion_weights: modality -> weight, unless the request brings its own.
        cache: answers by content and options; None computes every time.
        n_threads: files of a batch that are decoded at the same time.
    """

    def __init__(
        self,
        scorers: Mapping[str, Scorer],
        *,
        name: str = "ensemble",
        version: str = "1.0",
        limits: Limits = Limits(),
        fusion_weights: Mapping[str, float] = DEFAULT_WEIGHTS,
        cache: ModelCache[dict] | None = None,
        n_threads: int = 2,
    ) -> None:
        if not scorers:
            raise ValueError("an engine needs at least one scorer")
        self.scorers = dict(scorers)
        self.name = name
        self.version = version
        self.limits = limits
        self.fusion_weights = dict(fusion_weights)
        self.cache = cache
        # Files are what runs side by side; inside one, torch keeps to a single thread, as it does in a worker.
        self._pool = ThreadPoolExecutor(n_threads, "decode", initializer=torch.set_num_threads, initargs=(1,))

    def warm_up(self) -> None:
        """Loads every artifact and runs it on empty input."""
        for scorer in self.scorers.values():
            scorer.warm_up()

    def detect_batch(self, items: Sequence[Item]) -> list[dict | DetectionError]:
        """Judges each item by itself.

        Returns:
            In the order of `items`: the answer of the request contract, or the
            refusal of that item. Nothing is raised on account of one item.

        Raises:
            ModelLoadError: a model that is needed cannot be loaded.
        """
        started = time.perf_counter()
        steps = list(self._pool.map(self._prepare, items))
        prepared = [step for step in steps if isinstance(step, _Prepared)]
        for modality in self.scorers:
            self._score([file for file in prepared if modality in file.samples], modality)
        return [self._answer(item, step, started) for item, step in zip(items, steps, strict=True)]

    def _prepare(self, item: Item) -> _Prepared | DetectionError | dict:
        """Everything up to the tensors; a dict is a verdict from the cache."""
        try:
            wanted = self._wanted(item.options)
            check_size(item.data, self.limits)  # before all of it is read for its digest
            sha256 = _sha256(item.data)
            if self.cache is not None and (known := self.cache.get(self._cache_key(sha256, item.options))):
                return known
            return self._decode(item, sha256, wanted)
        except DetectionError as refusal:
            return refusal
        except ModelLoadError:
            raise
        except OSError as error:
            return DetectionError(ErrorCode.UNREADABLE_FILE, f"the file cannot be read: {error.strerror or error}")
        except Exception as error:  # a fault of ours costs this request, not its neighbours
            return DetectionError(ErrorCode.INTERNAL, f"{type(error).__name__} while decoding: {error}")

    def _wanted(self, options: DetectOptions) -> list[str]:
        weights = self.fusion_weights | dict(options.weights or {})
        if options.modality == "auto":
            several = len(self.scorers) > 1
            return [modality for modality in self.scorers if not several or weights.get(modality, 1.0) > 0]
        if options.modality not in self.scorers:
            allowed = ", ".join(["auto", *self.scorers])
            message = f"option 'modality' is {options.modality!r}; model {self.name!r} allows: {allowed}"
            raise DetectionError(ErrorCode.BAD_OPTION, message)
        return [options.modality]

    def _decode(self, item: Item, sha256: str, wanted: Sequence[str]) -> _Prepared:
        samples: dict[str, Any] = {}
        refusals: dict[str, DetectionError] = {}
        with Media(item.data, self.limits) as media:
            for modality in wanted:
                try:
                    samples[modality] = self.scorers[modality].sample(media, item.options)
                except DetectionError as refusal:
                    refusals[modality] = refusal
            file_type = "audio" if media.video is None else "video"
            prepared = _Prepared(item, sha256, file_type, media.decode_s, samples, refusals, list(media.warnings))
        if not samples:
            raise _gravest(refusals.values())
        return prepared

    def _score(self, files: Sequence[_Prepared], modality: str) -> None:
        """One forward pass for all; where it fails, halves it until the culprit is alone."""
        if not files:
            return
        try:
            scores = self.scorers[modality].score([file.samples[modality] for file in files])
        except Exception as error:
            if len(files) > 1:
                half = len(files) // 2
                self._score(files[:half], modality)
                self._score(files[half:], modality)
            elif isinstance(error, DetectionError):
                files[0].refusals[modality] = error
            else:
                message = f"{type(error).__name__} in the {modality} network: {error}"
                files[0].refusals[modality] = DetectionError(ErrorCode.INTERNAL, message)
            return
        for file, score in zip(files, scores, strict=True):
            file.scores[modality] = score

    def _answer(self, item: Item, step: _Prepared | DetectionError | dict, started: float) -> dict | DetectionError:
        if isinstance(step, DetectionError):
            return step
        if isinstance(step, _Prepared):
            if not step.scores:
                return _gravest(step.refusals.values())
            verdict, outcome = self._verdict(step), "off" if self.cache is None else "miss"
            if self.cache is not None:
                self.cache.put(self._cache_key(step.sha256, item.options), copy.deepcopy(verdict))
        else:
            verdict, outcome = copy.deepcopy(step) | {"timings_s": {}}, "hit"
        return {
            **verdict,
            "file_name": item.file_name,
            "processing_time": round(time.perf_counter() - started, 4),
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "cache": outcome,
        }

    def _cache_key(self, sha256: str, options: DetectOptions) -> tuple[str, ...]:
        return self.name, self.version, sha256, options.cache_key()

    def _verdict(self, file: _Prepared) -> dict:
        """The part of an answer that depends on content and options alone."""
        options, scores = file.item.options, file.scores
        weights = self.fusion_weights | dict(options.weights or {})
        p_fake, shares = fuse({modality: score.p_fake for modality, score in scores.items()}, weights)
        p_fake = round(p_fake, DIGITS)
        threshold = self._threshold(options, scores)
        is_fake = p_fake >= threshold
        probabilities = {"real": round(1.0 - p_fake, DIGITS), "fake": p_fake}
        variants = [self.scorers[modality].artifact.variant for modality in scores]
        return {
            "prediction": "Fake" if is_fake else "Real",
            "confidence": probabilities["fake" if is_fake else "real"],
            "probabilities": probabilities,
            "threshold": threshold,
            "file_type": file.file_type,
            "device": self.scorers[next(iter(scores))].device,
            "model": {"name": self.name, "version": self.version, "variant": "+".join(dict.fromkeys(variants))},
            "modalities": {
                modality: {
                    "p_fake": round(score.p_fake, DIGITS),
                    "weight": round(shares[modality], DIGITS),
                    "variant": self.scorers[modality].artifact.variant,
                    **score.details,
                }
                for modality, score in scores.items()
            },
            "sha256": file.sha256,
            "warnings": _warnings(file),
            "timings_s": _timings(file),
        }

    def _threshold(self, options: DetectOptions, scores: Mapping[str, Score]) -> float:
        """The caller's threshold, else the model's own; fused probabilities are cut at one half."""
        if options.threshold is not None:
            return options.threshold
        if len(scores) > 1:
            return 0.5
        return self.scorers[next(iter(scores))].calibration.threshold


def load_engine(
    paths: Mapping[str, Path | str],
    *,
    name: str = "ensemble",
    version: str = "1.0",
    device: str | None = None,
    variant: str = "auto",
    limits: Limits = Limits(),
    fusion_weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    cache_items: int = 100,
    n_threads: int = 2,
) -> Engine:
    """An engine over artifacts; they are loaded when first needed, or by `warm_up`.

    Args:
        paths: modality (`video`, `audio`) -> artifact directory, artifact or checkpoint.
        device: `cpu`, `cuda`, `cuda:n`; None takes CUDA where there is one.
        variant: `auto`, `fp32`, `int8` or `fp16`.
        cache_items: answers remembered; 0 turns the cache off.

    Raises:
        ValueError: a modality is unknown.
    """
    if unknown := set(paths) - set(SCORERS):
        raise ValueError(f"unknown modality {sorted(unknown)}; allowed: {sorted(SCORERS)}")
    device = device or default_device()
    scorers = {modality: SCORERS[modality](path, device, variant) for modality, path in paths.items()}
    return Engine(
        scorers,
        name=name,
        version=version,
        limits=limits,
        fusion_weights=fusion_weights,
        cache=ModelCache(cache_items) if cache_items else None,
        n_threads=n_threads,
    )


def default_device() -> str:
    """`cuda` where there is one, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _sha256(data: bytes | Path) -> str:
    """The content's SHA-256 in hex."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gravest(refusals) -> DetectionError:
    """Of several refusals the one that tells most: a missing track says less than a broken one."""
    absent = (ErrorCode.NO_VIDEO_TRACK, ErrorCode.NO_AUDIO_TRACK)
    return min(refusals, key=lambda refusal: refusal.code in absent)


def _warnings(file: _Prepared) -> list[str]:
    missing = [f"{modality} was not scored: {refusal.message}" for modality, refusal in file.refusals.items()]
    return [*file.warnings, *missing, *(warning for score in file.scores.values() for warning in score.warnings)]


def _timings(file: _Prepared) -> dict[str, float]:
    """Seconds this file spent in each stage, summed over its modalities."""
    timings = {"decode": file.decode_s}
    for score in file.scores.values():
        for stage, seconds in score.timings_s.items():
            timings[stage] = timings.get(stage, 0.0) + seconds
    return {stage: round(seconds, 5) for stage, seconds in timings.items()}
