"""A batch of files in, an answer or a refusal for each out.

The local detector and every handler are thin layers over `Engine.detect_batch`.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import torch

from model_defs.caching.coalescing import Coalescer, Outcome
from model_defs.caching.detection_cache import DetectionCache, cache_key
from model_defs.caching.settings import CacheSettings
from model_defs.decoding.containers import check_size
from model_defs.errors import DetectionError, ErrorCode, ModelLoadError
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor, Score
from model_defs.inference.predictors import PREDICTORS
from model_defs.inference.response import gravest, verdict
from model_defs.inference.samples import FileTracks, read_tracks
from model_defs.inference.settings import EngineSettings
from model_defs.inference.worker_pool import DecodePool
from model_defs.limits import Limits

logger = logging.getLogger(__name__)

IN_MEMORY = CacheSettings(store="memory")


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
class _Job:
    """A file on its way to an answer."""

    item: Item
    sha256: str
    wanted: list[str]
    tracks: FileTracks | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    refusal: DetectionError | None = None


class Engine:
    """Decodes, scores and fuses.

    Args:
        predictors: modality -> predictor. With one it is a video or audio model, with both the ensemble.
        name: model name in the answers.
        version: model version in the answers.
        build: what tells this build of the version from any other, such as the archive's digest.
        cache: answers and samples; None computes every time.
        settings: how files are decoded and fused.
    """

    def __init__(
        self,
        predictors: Mapping[str, Predictor],
        *,
        name: str = "ensemble",
        version: str = "1.0",
        build: str = "",
        cache: DetectionCache | None = None,
        settings: EngineSettings = EngineSettings(),
    ) -> None:
        if not predictors:
            raise ValueError("an engine needs at least one predictor")
        self.predictors = dict(predictors)
        self.name = name
        self.version = version
        self.build = build
        self.settings = settings
        self.cache = cache
        self._coalescer = None if cache is None else Coalescer(cache)
        self._pool = DecodePool(settings.decode_threads)
        self._decode_limit_s = settings.limits.decode_budget_s + settings.decode_grace_s

    @property
    def limits(self) -> Limits:
        """Ceilings on one file."""
        return self.settings.limits

    @property
    def n_stuck(self) -> int:
        """Decoding threads that were given up and have not come back."""
        return self._pool.n_stuck

    def warm_up(self) -> None:
        """Loads every artifact and runs it on empty input."""
        for predictor in self.predictors.values():
            predictor.warm_up()

    def detect_batch(self, items: Sequence[Item]) -> list[dict | DetectionError]:
        """Judges each item by itself.

        Returns:
            In the order of `items`: the answer of the request contract, or the
            refusal of that item. Nothing is raised on account of one item.

        Raises:
            ModelLoadError: a model that is needed cannot be loaded.
        """
        started = time.perf_counter()
        admitted = self._in_threads(self._admit, items)
        jobs = [job for job in admitted if isinstance(job, _Job)]
        if self._coalescer is None:
            outcomes = self._compute(jobs)
        else:
            keys = [self._key(job) for job in jobs]
            outcomes = self._coalescer.resolve(keys, lambda chosen: self._compute([jobs[index] for index in chosen]))
        judged = iter(outcomes)
        return [
            self._answer(item, next(judged), started) if isinstance(job, _Job) else job
            for item, job in zip(items, admitted, strict=True)
        ]

    def _in_threads(self, step, items: Sequence) -> list:
        """`step` of each item, or its refusal; one that takes too long is refused, and its thread left behind."""
        if len(items) == 1 and step == self._admit:  # a thread would cost more than it could save
            return [self._refusing(step, items[0])]
        late = f"the file was not ready {self._decode_limit_s:g} s after its decoding began; "
        late += f"{self.limits.decode_budget_s:g} s are allowed (decode_budget_s)"
        done = self._pool.map(lambda item: self._refusing(step, item), items, self._decode_limit_s)
        return [DetectionError(ErrorCode.DECODE_TIMEOUT, late) if result is None else result for result in done]

    def _refusing(self, step, item):
        """`step` of one item, or the refusal that it ends in."""
        try:
            return step(item)
        except DetectionError as refusal:
            return refusal
        except ModelLoadError:
            raise
        except OSError as error:
            return DetectionError(ErrorCode.UNREADABLE_FILE, f"the file cannot be read: {error.strerror or error}")
        except Exception:  # a fault of ours costs this request, not its neighbours
            return DetectionError(ErrorCode.INTERNAL, _logged("while decoding"))

    def _admit(self, item: Item) -> _Job:
        wanted = self._wanted(item.options)
        check_size(item.data, self.limits)  # before all of it is read for its digest
        return _Job(item, _sha256(item.data), wanted)

    def _wanted(self, options: DetectOptions) -> list[str]:
        weights = self._weights(options)
        if options.modality == "auto":
            several = len(self.predictors) > 1
            return [modality for modality in self.predictors if not several or weights.get(modality, 1.0) > 0]
        if options.modality not in self.predictors:
            allowed = ", ".join(["auto", *self.predictors])
            message = f"option 'modality' is {options.modality!r}; model {self.name!r} allows: {allowed}"
            raise DetectionError(ErrorCode.BAD_OPTION, message)
        return [options.modality]

    def _weights(self, options: DetectOptions) -> dict[str, float]:
        return self.settings.fusion_weights | dict(options.weights or {})

    def _key(self, job: _Job) -> str:
        return cache_key("result", job.sha256, self._fingerprint, job.item.options.cache_key())

    @cached_property
    def _fingerprint(self) -> list[object]:
        """All that an answer depends on besides content and options. A version that is built anew is another one."""
        models = [predictor.identity() for predictor in self.predictors.values()]
        fusion = [self.settings.fusion_weights, self.settings.fusion_threshold]
        return [self.name, self.version, self.build, models, fusion, asdict(self.limits)]

    def _compute(self, jobs: Sequence[_Job]) -> list[Outcome]:
        """Decodes what must be decoded, side by side, and scores all of it together."""
        for job, tracks in zip(jobs, self._in_threads(self._read, jobs), strict=True):
            if isinstance(tracks, DetectionError):
                job.refusal = tracks
            elif not tracks.samples:
                job.tracks, job.refusal = tracks, gravest(tracks.refusals.values())
            else:
                job.tracks = tracks
        for modality in self.predictors:
            self._score([job for job in jobs if job.refusal is None and modality in job.tracks.samples], modality)
        explain_until_s = time.perf_counter() + self.settings.explain_budget_s
        return [self._outcome(job, explain_until_s) for job in jobs]

    def _read(self, job: _Job) -> FileTracks:
        predictors = {modality: self.predictors[modality] for modality in job.wanted}
        return read_tracks(job.item.data, job.sha256, predictors, job.item.options, self.limits, self.cache)

    def _score(self, jobs: Sequence[_Job], modality: str) -> None:
        """One forward pass for all; where it fails, halves it until the culprit is alone."""
        if not jobs:
            return
        try:
            scores = self.predictors[modality].score([job.tracks.samples[modality] for job in jobs])
        except Exception as error:
            if len(jobs) > 1:
                half = len(jobs) // 2
                self._score(jobs[:half], modality)
                self._score(jobs[half:], modality)
            elif isinstance(error, DetectionError):
                jobs[0].tracks.refusals[modality] = error
            else:
                refusal = DetectionError(ErrorCode.INTERNAL, _logged(f"in the {modality} network"))
                jobs[0].tracks.refusals[modality] = refusal
            return
        for job, score in zip(jobs, scores, strict=True):
            job.scores[modality] = score

    def _outcome(self, job: _Job, explain_until_s: float) -> Outcome:
        if job.refusal is None and not job.scores:
            job.refusal = gravest(job.tracks.refusals.values())
        if job.refusal is not None:
            return Outcome(job.refusal, "miss")
        variants = [self.predictors[modality].artifact.variant for modality in job.scores]
        options = job.item.options
        weights = self._weights(options)
        answer = verdict(job.tracks, job.scores, options, self.predictors, weights, self.settings.fusion_threshold)
        answer |= {
            "device": self.predictors[next(iter(job.scores))].device,
            "model": {"name": self.name, "version": self.version, "variant": "+".join(dict.fromkeys(variants))},
            "sha256": job.sha256,
        }
        source = "off" if self.cache is None else "miss" if job.tracks.was_decoded else "samples"
        complete = True
        if job.item.options.explain:
            complete = self._explain(job, answer, explain_until_s)
        return Outcome(answer, source, job.tracks.may_keep and job.item.options.may_keep and complete)

    def _explain(self, job: _Job, answer: dict, until_s: float) -> bool:
        """Adds what each score rests on; where that fails the verdict stands, with a warning. Whether none failed."""
        started = time.perf_counter()
        explanation = answer["explanation"] = {}
        for modality in job.scores:
            try:
                if time.perf_counter() > until_s:
                    raise TimeoutError
                sample = job.tracks.samples[modality]
                explanation[modality] = self.predictors[modality].explain(sample, job.item.options.explain)
            except TimeoutError:
                message = f"the batch has spent its {self.settings.explain_budget_s:g} s (explain_budget_s)"
                answer["warnings"].append(f"{modality} was not explained: {message}")
                answer["warning_codes"].append("not_explained")
            except Exception:
                answer["warnings"].append(f"{modality} was not explained: {_logged('while explaining')}")
                answer["warning_codes"].append("not_explained")
        answer["timings_s"]["explain"] = round(time.perf_counter() - started, 5)
        return len(explanation) == len(job.scores)

    def _answer(self, item: Item, outcome: Outcome, started: float) -> dict | DetectionError:
        if isinstance(outcome.answer, DetectionError):
            return outcome.answer
        return {
            **outcome.answer,
            **({"timings_s": {}} if outcome.source == "hit" else {}),
            "file_name": item.file_name,
            "processing_time": round(time.perf_counter() - started, 4),
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "cache": outcome.source,
        }


def load_engine(
    paths: Mapping[str, Path | str],
    *,
    name: str = "ensemble",
    version: str = "1.0",
    build: str = "",
    device: str | None = None,
    variant: str = "auto",
    cache: CacheSettings | None = IN_MEMORY,
    settings: EngineSettings = EngineSettings(),
) -> Engine:
    """An engine over artifacts; they are loaded when first needed, or by `warm_up`.

    Args:
        paths: modality (`video`, `audio`) -> artifact directory, artifact or checkpoint.
        device: `cpu`, `cuda`, `cuda:n`; None takes CUDA where there is one.
        variant: `auto`, `fp32`, `int8` or `fp16`.
        cache: what is remembered, and where; None remembers nothing.
        settings: how files are decoded and fused.

    Raises:
        ValueError: a modality is unknown.
    """
    if unknown := set(paths) - set(PREDICTORS):
        raise ValueError(f"unknown modality {sorted(unknown)}; allowed: {sorted(PREDICTORS)}")
    device = device or default_device()
    predictors = {modality: PREDICTORS[modality](path, device, variant) for modality, path in paths.items()}
    return Engine(
        predictors,
        name=name,
        version=version,
        build=build,
        cache=DetectionCache(cache) if cache is not None and cache.is_on else None,
        settings=settings,
    )


def _logged(where: str) -> str:
    """A sentence for the caller; the exception itself, which may hold paths or content, goes to the log by an id."""
    fault_id = uuid.uuid4().hex[:12]
    logger.exception("fault %s %s", fault_id, where)
    return f"a fault of ours {where}; the server's log has it as {fault_id}"


def default_device() -> str:
    """`cuda` where there is one, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _sha256(data: bytes | Path) -> str:
    """The content's SHA-256 in hex."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
