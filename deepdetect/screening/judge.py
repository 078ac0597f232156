"""One shard to one table: all that an engine, whichever it is, has to run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepdetect.detector import DeepfakeDetector
from deepdetect.screening.places import Entry, open_place
from deepdetect.screening.shards import Shard
from model_defs.errors import DetectionError
from model_defs.inference.engine import Item
from model_defs.inference.options import DetectOptions
from model_defs.preprocessing.digest import preprocessing_digest

CRASHED = "crashed"  # the code of a file that ended its process, which no answer of ours can carry
UNREADABLE = "unreadable_file"  # and of one that could not be fetched
MODALITIES = ("video", "audio")

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("etag", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("file_type", pa.string()),
        ("prediction", pa.string()),
        ("p_fake", pa.float64()),
        ("threshold", pa.float64()),
        *((f"{modality}_{name}", pa.float64()) for modality in MODALITIES for name in ("p_fake", "weight", "anomaly")),
        ("model", pa.string()),
        ("version", pa.string()),
        ("model_digest", pa.string()),
        ("options", pa.string()),
        ("warnings", pa.list_(pa.string())),
        ("error_code", pa.string()),
        ("message", pa.string()),
        ("seconds", pa.float64()),
        ("attempt", pa.int32()),
        ("run_id", pa.string()),
    ]
)
# What a second run of the same files on the same model gives again; the rest tells of the run.
RESULT_COLUMNS = tuple(name for name in SCHEMA.names if name not in ("seconds", "attempt", "run_id"))


@dataclass(frozen=True)
class ModelSettings:
    """Which models judge, as `DeepfakeDetector` takes them; hashable, so that a worker keeps one detector.

    Attributes:
        video_model, audio_model: paths; None takes what the project ships.
        device: cpu, cuda or cuda:N; None takes CUDA where there is one.
        use_quantization: see `DeepfakeDetector`.
    """

    video_model: str | None = None
    audio_model: str | None = None
    device: str | None = None
    use_quantization: bool | None = None

    def detector(self) -> DeepfakeDetector:
        """A new detector, without a cache: a back catalogue seldom holds a file twice."""
        return DeepfakeDetector(self.video_model, self.audio_model, self.device, self.use_quantization, use_cache=False)


def model_digest(settings: ModelSettings) -> str:
    """A digest of all that turns a file into a row: artifacts, variants, and the code from file to tensor."""
    identities = [predictor.identity() for predictor in settings.detector().predictors.values()]
    record = json.dumps([identities, preprocessing_digest()], sort_keys=True, default=str)
    return hashlib.sha256(record.encode()).hexdigest()[:16]


def options_text(options: Mapping[str, Any]) -> str:
    """Options as a row names them."""
    return json.dumps(dict(options), sort_keys=True)


def judge_shard(shard: Shard, settings: ModelSettings, run_id: str, attempt: int = 1) -> pa.Table:
    """One row a file, in the shard's order, by `SCHEMA`; a file that cannot be judged has an error code in its row."""
    engine = _detector(settings)
    options = DetectOptions.parse(dict(shard.options))
    rows = [_judged(entry, engine, options) for entry in shard.entries]
    return as_table(shard, rows, run_id, attempt)


def crashed_row(entry: Entry) -> dict[str, Any]:
    """The row of a file whose process died."""
    return _refused(entry, CRASHED, "the process that judged this file alone ended without an answer")


def as_table(shard: Shard, rows: Sequence[Mapping[str, Any]], run_id: str, attempt: int) -> pa.Table:
    """Rows with what is the same for all of them."""
    options = options_text(shard.options)
    same = {"model_digest": shard.model_digest, "options": options, "attempt": attempt, "run_id": run_id}
    return pa.Table.from_pylist([{**row, **same} for row in rows], schema=SCHEMA)


def _judged(entry: Entry, detector: DeepfakeDetector, options: DetectOptions) -> dict[str, Any]:
    started = time.perf_counter()
    name = entry.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace").rpartition("/")[2]
    try:
        place = open_place(entry.path)
        data: bytes | Path = Path(place.path) if place.is_local else place.read()
        if isinstance(data, Path):
            data.stat()
    except OSError as error:
        return _refused(entry, UNREADABLE, f"{name} cannot be read: {error.strerror or error}")
    (answer,) = detector.detect_items([Item(data, name, options)], options.modality)
    seconds = time.perf_counter() - started
    if isinstance(answer, DetectionError):
        return _refused(entry, answer.code.value, answer.message, seconds)
    parts = answer["modalities"]
    details = {
        f"{modality}_{column}": value(parts[modality])
        for modality in MODALITIES
        if modality in parts
        for column, value in _PARTS.items()
    }
    return {
        **_of(entry),
        **details,
        "sha256": answer["sha256"],
        "file_type": answer["file_type"],
        "prediction": answer["prediction"],
        "p_fake": answer["probabilities"]["fake"],
        "threshold": answer["threshold"],
        "model": answer["model"]["name"],
        "version": answer["model"]["version"],
        "warnings": answer["warnings"],
        "seconds": seconds,
    }


_PARTS: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "p_fake": lambda part: part.get("p_fake"),
    "weight": lambda part: part.get("weight"),
    "anomaly": lambda part: part.get("anomaly", {}).get("percentile"),
}


def _of(entry: Entry) -> dict[str, Any]:
    path = entry.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return {"path": path, "etag": entry.etag, "bytes": entry.n_bytes}


def _refused(entry: Entry, code: str, message: str, seconds: float | None = None) -> dict[str, Any]:
    return {**_of(entry), "error_code": code, "message": message, "seconds": seconds, "warnings": []}


@cache
def _detector(settings: ModelSettings) -> DeepfakeDetector:
    return settings.detector()
