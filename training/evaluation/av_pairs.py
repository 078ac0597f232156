"""Clips with picture and sound for the ensemble: a video and an audio clip of the same class, in one file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss
from tqdm import tqdm

from model_defs.errors import DetectionError
from model_defs.inference.engine import Engine, Item, load_engine
from model_defs.inference.fusion import fuse
from model_defs.inference.options import DetectOptions
from model_defs.networks.weights import sha256_of
from training.data.clip import Clip
from training.evaluation.degradations import refusing
from training.evaluation.file_scores import Candidate, ScoreCache

ANY_FACE = DetectOptions(allow_no_face=True)  # a clip without a face counts, as it does for video alone


@dataclass(frozen=True)
class Pair:
    """A picture and a sound of the same class."""

    video: Clip
    audio: Clip

    @property
    def label(self) -> int:
        return self.video.label


@dataclass(frozen=True)
class PairScores:
    """Pairs as the ensemble answered them: calibrated P(fake) of each modality, (n,), and how many gave no score."""

    pairs: tuple[Pair, ...]
    p_fakes: Mapping[str, np.ndarray]
    n_left_out: int = 0

    @property
    def labels(self) -> np.ndarray:
        return np.array([pair.label for pair in self.pairs], dtype=int)

    @property
    def groups(self) -> list[str]:
        """Of the picture: there are fewer of them than of sounds."""
        return [pair.video.group for pair in self.pairs]

    def fused(self, weights: Mapping[str, float]) -> np.ndarray:
        """P(fake) of each pair, (n,)."""
        rows = np.column_stack(list(self.p_fakes.values()))
        return np.array([fuse(dict(zip(self.p_fakes, row, strict=True)), weights)[0] for row in rows])


def make_pairs(videos: Sequence[Clip], sounds: Sequence[Clip]) -> list[Pair]:
    """Each video clip with a sound of its class and split; the same clips give the same pairs.

    Sounds are taken in the order of a hash of their names, each once before any is taken again. A class or split that
    only one side has gives no pair.
    """
    pairs, taken = [], {}
    for video in sorted(videos, key=_order):
        kind = (video.split, video.label)
        fitting = sorted((sound for sound in sounds if (sound.split, sound.label) == kind), key=_order)
        if fitting:
            index = taken.get(kind, 0)
            taken[kind] = index + 1
            pairs.append(Pair(video, fitting[index % len(fitting)]))
    return pairs


def _order(clip: Clip) -> str:
    return hashlib.sha256(clip.path.name.encode()).hexdigest()


def mux(video: Path, sound: Path) -> bytes:
    """One Matroska file with the picture of the one and the sound of the other, neither encoded anew."""
    file = io.BytesIO()
    with av.open(str(video)) as pictures, av.open(str(sound)) as sounds, av.open(file, "w", "matroska") as output:
        tracks = [pictures.streams.video[0], sounds.streams.audio[0]]
        streams = [output.add_stream_from_template(track) for track in tracks]
        packets = []
        for source, track, stream in zip((pictures, sounds), tracks, streams, strict=True):
            for packet in source.demux(track):
                if packet.dts is not None:
                    packets.append((float(packet.dts * packet.time_base), stream, packet))
        for _, stream, packet in sorted(packets, key=lambda entry: entry[0]):
            packet.stream = stream
            output.mux(packet)
    return file.getvalue()


def score_pairs(candidates: Mapping[str, Candidate], pairs: Sequence[Pair], cache: ScoreCache) -> PairScores:
    """Each pair muxed in memory and judged by the engine that serves; pairs that lack a score are left out."""
    engine = load_engine(
        {modality: candidate.path for modality, candidate in candidates.items()}, device="cpu", cache=None
    )
    served = [[one.modality, one.served.sha256, one.calibration.to_dict()] for one in candidates.values()]
    kept, rows = [], []
    for pair in tqdm(pairs, "ensemble", unit="clip", leave=False):
        key = cache.key("pair, with or without a face", served, sha256_of(pair.video.path), sha256_of(pair.audio.path))
        if (record := cache.get(key)) is None:
            judged = _judge(engine, pair)
            record = {modality: judged.get(modality, {}).get("p_fake") for modality in candidates}
            cache.put(key, record)
        if None not in record.values():
            kept.append(pair)
            rows.append([record[modality] for modality in candidates])
    columns = np.array(rows, dtype=float).reshape(-1, len(candidates)).T
    return PairScores(tuple(kept), dict(zip(candidates, columns, strict=True)), len(pairs) - len(kept))


def _judge(engine: Engine, pair: Pair) -> dict[str, dict]:
    """What the engine says of each modality; empty where it refuses, or there is nothing to mux."""
    try:
        with refusing():
            muxed = mux(pair.video.path, pair.audio.path)
    except DetectionError:
        return {}
    answer = engine.detect_batch([Item(muxed, options=ANY_FACE)])[0]
    return {} if isinstance(answer, DetectionError) else answer["modalities"]


def fit_weights(scores: PairScores) -> dict[str, float]:
    """The weights of video and audio, together 1, at which the fused scores cost least (cross-entropy)."""
    first, second = scores.p_fakes
    weigh = lambda share: {first: share, second: 1.0 - share}  # noqa: E731
    found = minimize_scalar(
        lambda share: log_loss(scores.labels, scores.fused(weigh(share)), labels=[0, 1]),
        bounds=(0.0, 1.0),
        method="bounded",
    )
    return weigh(round(float(found.x), 3))
