"""Scores by the second of one stream, and the events that follow from them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from deepdetect.live.cusum import Cusum, CusumConfig
from deepdetect.live.source import Second
from model_defs.calibration import DIGITS
from model_defs.decoding.media import AudioSegment
from model_defs.errors import DetectionError
from model_defs.inference.audio_predictor import AudioPredictor
from model_defs.inference.fusion import DEFAULT_WEIGHTS, fuse
from model_defs.inference.video_predictor import VideoPredictor
from model_defs.spec import AudioSpec


@dataclass(frozen=True)
class SecondScores:
    """P(fake) of one second; None where nothing can be said.

    Attributes:
        video: of the faces in its pictures.
        audio: of the window of sound that ends with it.
        fused: of what there is, by the ensemble's weights.
        faces: faces that were seen.
    """

    video: float | None
    audio: float | None
    fused: float | None
    faces: int


class SecondScorer:
    """The networks of the local detector, fed by the second.

    Pictures are scored once, by the second that they are in; sound in windows of the network's own length that end with
    each second and so overlap.
    """

    def __init__(self, video: VideoPredictor, audio: AudioPredictor) -> None:
        self.video = video
        self.audio = audio
        self._sound = np.zeros(0, np.float32)

    @property
    def audio_spec(self) -> AudioSpec:
        """What the audio network is fed; raises ModelLoadError where it cannot be loaded."""
        return cast(AudioSpec, self.audio.artifact.spec)

    def score(self, second: Second) -> SecondScores:
        """The scores of the next second."""
        found: dict[str, float] = {}
        faces = 0
        if second.frames:
            sample = self.video.sample_frames(second.frames)
            faces = sample.n_seen
            if sample.n_faces:
                found["video"] = self.video.score([sample])[0].p_fake
        heard = self._heard(second)
        if heard is not None:
            found["audio"] = heard
        fused = fuse(found, DEFAULT_WEIGHTS)[0] if found else None
        return SecondScores(found.get("video"), found.get("audio"), fused, faces)

    def _heard(self, second: Second) -> float | None:
        if second.n_dropped:
            self._sound = self._sound[:0]  # what was heard before does not adjoin
        self._sound = np.concatenate([self._sound, second.sound])[-self.audio_spec.n_samples :]
        if not len(second.sound):
            return None
        try:
            sample = self.audio.sample_segments([AudioSegment(0.0, self._sound)])
        except DetectionError:  # silence
            return None
        return self.audio.score([sample])[0].p_fake


def watch(seconds: Iterable[Second], scorer: SecondScorer, config: CusumConfig) -> Iterator[dict[str, Any]]:
    """Events, as JSON values: a `score` each second, `alarm` and `all_clear`, `dropped` and `reconnected`, `end`.

    `delay_s` of a score is the time from the second being whole to its score.
    """
    cusum, n_seconds, n_reconnections = Cusum(config), 0, 0
    for second in seconds:
        if second.n_reconnections > n_reconnections:
            n_reconnections = second.n_reconnections
            yield {"event": "reconnected", "second": second.index, "reconnections": n_reconnections}
        if second.n_dropped:
            yield {"event": "dropped", "second": second.index, "seconds": second.n_dropped}
        scores = scorer.score(second)
        change = None if scores.fused is None else cusum.update(scores.fused)
        n_seconds += 1
        yield {
            "event": "score",
            "second": second.index,
            "p_fake": _rounded(scores.fused),
            "video": _rounded(scores.video),
            "audio": _rounded(scores.audio),
            "faces": scores.faces,
            "cusum": round(cusum.level, 3),
            "alarmed": cusum.is_alarmed,
            "delay_s": round(time.monotonic() - second.received_s, 3),
        }
        if change is not None:
            yield {"event": change, "second": second.index}
    yield {"event": "end", "seconds": n_seconds, "alarmed": cusum.is_alarmed}


def _rounded(p_fake: float | None) -> float | None:
    return None if p_fake is None else round(p_fake, DIGITS)
