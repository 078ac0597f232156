"""The audio modality: windows of sound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from model_defs.calibration import rounded
from model_defs.decoding.media import Media
from model_defs.explanation.attribution import audio_heatmap, audio_scores
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor, Score
from model_defs.inference.seconds import Span, per_second
from model_defs.networks.artifact import Output
from model_defs.notes import Note
from model_defs.preprocessing.audio import AudioSample, decode_audio_sample
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

    def score(self, samples: Sequence[AudioSample]) -> list[Score]:
        started = time.perf_counter()
        outputs = self._forward([torch.as_tensor(sample.features) for sample in samples])
        forward_s = (time.perf_counter() - started) / len(samples)
        return [self._score(sample, output, forward_s) for sample, output in zip(samples, outputs, strict=True)]

    def _score(self, sample: AudioSample, output: Output, forward_s: float) -> Score:
        # Windows are fused before calibration: the temperature is fitted on clips, not on windows.
        p_fake = self._pooled(output.logits.mean(axis=0, keepdims=True), output.logits)
        anomaly, doubts, trust = self._anomaly(output.distances)
        window_p_fake = rounded(self.calibration.p_fake(output.logits))
        window_s = self.artifact.spec.window_s
        spans = [
            Span(start_s, start_s + window_s, own) for start_s, own in zip(sample.starts_s, window_p_fake, strict=True)
        ]
        details = {
            "windows": len(output.logits),
            "window_starts_s": [round(float(start_s), 3) for start_s in sample.starts_s],
            "window_p_fake": window_p_fake,
            "scores": per_second(spans),
            **anomaly,
        }
        timings_s = {"features": sample.features_s, "forward": forward_s}
        return Score(p_fake, details, (*(Note(*note) for note in sample.warnings), *doubts), timings_s, trust)

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


@cache
def _frontend(spec: AudioSpec) -> torch.nn.Module:
    return create_frontend(spec)
