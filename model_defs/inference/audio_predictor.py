"""The audio modality: windows of sound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from model_defs.calibration import DIGITS, rounded
from model_defs.decoding.media import AudioSegment, Media
from model_defs.explanation.attribution import audio_heatmap, audio_scores
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor, Score
from model_defs.inference.seconds import Span, per_second
from model_defs.networks.artifact import Output
from model_defs.notes import Note
from model_defs.preprocessing.audio import AudioSample, audio_sample, decode_audio_sample
from model_defs.preprocessing.audio_features import create_frontend
from model_defs.spec import AudioSpec


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

    def sample_segments(self, segments: Sequence[AudioSegment]) -> AudioSample:
        """What the network sees of sound that somebody else decoded, mono at its rate; raises DetectionError."""
        spec = self.artifact.spec
        return audio_sample(segments, spec, _frontend(spec))

    def score(self, samples: Sequence[AudioSample]) -> list[Score]:
        started = time.perf_counter()
        outputs = self._forward([torch.as_tensor(sample.features) for sample in samples])
        forward_s = (time.perf_counter() - started) / len(samples)
        return [self._score(sample, output, forward_s) for sample, output in zip(samples, outputs, strict=True)]

    def _score(self, sample: AudioSample, output: Output, forward_s: float) -> Score:
        voices = sample.voices or [{"track": 0, "channels": "mono", "windows": len(output.logits)}]
        windows = _windows_of(voices)
        # Windows are fused before calibration: the temperature is fitted on clips, not on windows.
        p_fakes = [
            self._pooled(output.logits[rows].mean(axis=0, keepdims=True), output.logits[rows]) for rows in windows
        ]
        chosen = int(np.argmax(p_fakes))
        rows = windows[chosen]
        logits, starts_s = output.logits[rows], sample.starts_s[rows]
        anomaly, doubts, trust = self._anomaly(None if output.distances is None else output.distances[rows])
        window_p_fake = rounded(self.calibration.p_fake(logits))
        window_s = self.artifact.spec.window_s
        spans = [Span(start_s, start_s + window_s, own) for start_s, own in zip(starts_s, window_p_fake, strict=True)]
        details = {
            "windows": len(logits),
            "window_starts_s": [round(float(start_s), 3) for start_s in starts_s],
            "window_p_fake": window_p_fake,
            "track": voices[chosen]["track"],
            "tracks": sample.n_tracks,
            "channels": voices[chosen]["channels"],
            "voices": [
                {"track": voice["track"], "channels": voice["channels"], "p_fake": round(p_fake, DIGITS)}
                for voice, p_fake in zip(voices, p_fakes, strict=True)
            ],
            "scores": per_second(spans),
            **anomaly,
        }
        notes = [*(Note(*note) for note in sample.warnings), *_choices(voices, chosen, sample.n_tracks), *doubts]
        return Score(
            p_fakes[chosen], details, tuple(notes), {"features": sample.features_s, "forward": forward_s}, trust
        )

    def _explain(self, sample: AudioSample, parts: tuple[str, ...]) -> dict[str, Any]:
        if len(sample.voices) > 1:
            (score,) = self.score([sample])
            told = [(voice["track"], voice["channels"]) for voice in sample.voices]
            rows = _windows_of(sample.voices)[told.index((score.details["track"], score.details["channels"]))]
            sample = replace(sample, starts_s=sample.starts_s[rows], features=sample.features[rows], voices=[])
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


def _windows_of(voices: Sequence[dict]) -> list[slice]:
    """Which windows of a sample are each voice's."""
    ends = np.cumsum([voice["windows"] for voice in voices]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _choices(voices: Sequence[dict], chosen: int, n_tracks: int) -> list[Note]:
    """What is to be known of voices and tracks beside the one that the verdict is of."""
    notes, voice = [], voices[chosen]
    if n_tracks > 1:
        scored = sorted({one["track"] for one in voices})
        message = (
            f"the file has {n_tracks} audio tracks; {len(scored)} with sound were scored, and the verdict is of the "
        )
        notes.append(Note("several_tracks", message + f"most suspicious, track {voice['track']}"))
    if sum(one["track"] == voice["track"] for one in voices) > 1:
        message = f"the channels carry different voices: the verdict is of the most suspicious, {voice['channels']}"
        notes.append(Note("several_voices", message))
    return notes


@cache
def _frontend(spec: AudioSpec) -> torch.nn.Module:
    return create_frontend(spec)
