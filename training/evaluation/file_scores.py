"""Clips scored as serving scores them, from the file to the margin; what was scored is never scored again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model_defs.calibration import Calibration
from model_defs.decoding.media import Media
from model_defs.errors import DetectionError
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor
from model_defs.inference.predictors import PREDICTORS
from model_defs.networks.artifact import Artifact, read_manifest
from model_defs.networks.weights import sha256_of
from model_defs.preprocessing.digest import preprocessing_digest
from model_defs.preprocessing.video import video_tensor
from model_defs.spec import VideoSpec
from training.data.clip import Clip
from training.evaluation.degradations import Degradation


@dataclass(frozen=True)
class Candidate:
    """One variant of one artifact directory.

    Attributes:
        name: in tables, such as `video int8`.
        path: the artifact directory.
        variant: `fp32` or `int8`.
    """

    name: str
    path: Path
    variant: str

    @cached_property
    def manifest(self) -> dict:
        """Of the directory; raises ArtifactError where there is none."""
        return read_manifest(self.path)

    @property
    def modality(self) -> str:
        return self.manifest["modality"]

    @property
    def sha256(self) -> str:
        """Of the TorchScript file."""
        return self.manifest["variants"][self.variant]["sha256"]

    @property
    def served(self) -> Candidate:
        """The variant of the same artifact that an archive picks on a CPU."""
        variant = self.manifest["default_variant"]["cpu"]
        return replace(self, name=f"{self.manifest['name']} {variant}", variant=variant)

    @cached_property
    def predictor(self) -> Predictor:
        """What a server would load; its artifact is loaded when first needed."""
        return PREDICTORS[self.modality](self.path, "cpu", self.variant)

    @property
    def calibration(self) -> Calibration:
        return Calibration(**self.manifest.get("calibration", {}))


class ScoreCache:
    """Records by key, in a file of JSON lines: written one by one, so that an interrupted run has lost none.

    Args:
        path: made when it is missing; a line that was cut off is skipped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, dict] = {}
        self._code = preprocessing_digest()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    self._known[entry["key"]] = entry["record"]
                except (ValueError, KeyError):
                    continue

    def get(self, key: str) -> dict | None:
        return self._known.get(key)

    def put(self, key: str, record: dict) -> None:
        self._known[key] = record
        # A newline first: whatever an interruption cut off before then stands on a line of its own.
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"key": key, "record": record}))

    def key(self, *parts: object) -> str:
        """Of everything that a record depends on, JSON values; the code from the file to the tensor is added."""
        return hashlib.sha256(json.dumps([self._code, *parts]).encode()).hexdigest()


@dataclass(frozen=True)
class ClipScores:
    """The same clips under several candidates.

    Attributes:
        clips: those that all candidates could score, n of them.
        margins: name of the candidate -> logit of fake less that of real, (n,), uncalibrated.
        refused: error code -> clips left out.
        distances: name of the candidate -> how unlike the train clips, (n,); nan without an OOD distance.
    """

    clips: tuple[Clip, ...]
    margins: Mapping[str, np.ndarray]
    refused: Mapping[str, int] = field(default_factory=dict)
    distances: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        return np.array([clip.label for clip in self.clips], dtype=int)

    @property
    def groups(self) -> list[str]:
        return [clip.group for clip in self.clips]

    def p_fake(self, candidate: Candidate) -> np.ndarray:
        """Calibrated, (n,)."""
        return candidate.calibration.p_fake(margin_logits(self.margins[candidate.name]))


def margin_logits(margin: np.ndarray) -> np.ndarray:
    """Logits (n, 2) with this margin."""
    return np.stack([np.zeros_like(margin), margin], axis=1)


def score_files(
    candidates: Sequence[Candidate], clips: Sequence[Clip], cache: ScoreCache, degradation: Degradation | None = None
) -> ClipScores:
    """Margins of the clips' files, as they are or degraded; each is decoded once for all candidates.

    Raises:
        ModelLoadError: an artifact cannot be loaded.
    """
    kept: list[Clip] = []
    rows: list[list[tuple[float, float]]] = []
    refused: Counter[str] = Counter()
    what = "as they are" if degradation is None else degradation.name
    for clip in tqdm(clips, f"{candidates[0].modality}, {what}", unit="clip", leave=False):
        records = _records(candidates, clip, cache, degradation)
        if error := next((record["error"] for record in records if "error" in record), None):
            refused[error] += 1
            continue
        kept.append(clip)
        rows.append([(record["margin"], record["distance"]) for record in records])
    columns = np.array(rows, dtype=float).reshape(-1, len(candidates), 2)
    margins, distances = (
        {candidate.name: columns[:, index, part] for index, candidate in enumerate(candidates)} for part in (0, 1)
    )
    return ClipScores(tuple(kept), margins, dict(refused), distances)


def _records(
    candidates: Sequence[Candidate], clip: Clip, cache: ScoreCache, degradation: Degradation | None
) -> list[dict]:
    digest = sha256_of(clip.path)
    applied = None if degradation is None else degradation.identity
    keys = [cache.key("scores", candidate.sha256, digest, applied) for candidate in candidates]
    if any(cache.get(key) is None for key in keys):
        source = sampled(clip.path if degradation is None else lambda: degradation(clip.path, seed=int(digest[:8], 16)))
        for key, candidate in zip(keys, candidates, strict=True):
            if cache.get(key) is None:
                cache.put(key, score_file(candidate, source))
    return [cache.get(key) for key in keys]


def score_file(candidate: Candidate, source: Callable[[Predictor], object]) -> dict:
    """`margin` and `distance` (None without a distance) of one file, as `sampled` gives it; or its `error` code."""
    try:
        sample = source(candidate.predictor)
    except DetectionError as error:
        return {"error": error.code.value}
    artifact = candidate.predictor.artifact
    logits, _, distances = artifact.forward_with_distance(network_input(artifact, sample))
    return {
        "margin": float((logits[:, 1] - logits[:, 0]).double().mean()),
        "distance": None if distances is None else float(distances.mean()),
    }


def sampled(source: Path | Callable[[], bytes]) -> Callable[[Predictor], object]:
    """A function from a predictor to its sample of one file, which is read, made and decoded when first asked for.

    What it raises (DetectionError) it raises for the predictors that ask, each time.
    """
    made: dict[object, object] = {}

    def sample(predictor: Predictor) -> object:
        spec = predictor.artifact.spec
        if spec not in made:
            if "file" not in made:
                made["file"] = source if isinstance(source, Path) else source()
            with Media(made["file"]) as media:
                made[spec] = predictor.sample(media, DetectOptions())
        return made[spec]

    return sample


def network_input(artifact: Artifact, sample) -> torch.Tensor:
    """What the network is fed of a sample: (1, T, 3, S, S), or (windows, steps, features)."""
    if isinstance(artifact.spec, VideoSpec):
        return video_tensor(sample.crops, artifact.spec)[None]
    return torch.as_tensor(sample.features)
