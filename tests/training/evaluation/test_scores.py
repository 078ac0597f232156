"""A prepared clip scores as the served one does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_defs.decoding.media import Media
from model_defs.networks.registry import build_network
from model_defs.preprocessing.audio import audio_sample
from model_defs.preprocessing.audio_features import MfccFrontend
from model_defs.spec import AudioSpec, VideoSpec
from tests.clips import write_audio
from training.data.datasets import Clip, load_dataset
from training.data.prepared import prepare
from training.evaluation.scores import score_clips

SPEC = AudioSpec(window_s=0.2, hop_length=256, max_windows=3)


def test_windows_of_a_clip_are_averaged_as_in_serving(audio_dataset, tmp_path):
    torch.manual_seed(0)
    net = build_network("mfcc_gru_light").eval()
    prepared = prepare(load_dataset(audio_dataset)[:2], SPEC, tmp_path, show_progress=False)
    scores = score_clips(net, prepared, SPEC)
    assert scores.labels.tolist() == [0, 1]
    for item, logits in zip(prepared, scores.logits, strict=True):
        with Media(item.clip.path) as media:
            segments = media.audio_segments(SPEC.rate_hz, SPEC.window_s, SPEC.max_windows)
        with torch.inference_mode():
            windows = net(audio_sample(segments, SPEC, MfccFrontend(SPEC).eval()).features)[0]
        assert len(windows) == 3
        assert logits == pytest.approx(windows.mean(0).numpy(), abs=1e-5)


def test_silent_clip_is_left_out(audio_dataset, tmp_path):
    path = tmp_path / "silent.wav"
    path.write_bytes(write_audio(sound=np.zeros(8_000, np.float32), duration_s=0.5))
    clips = [*load_dataset(audio_dataset)[:2], Clip(path, 0, "nobody", "val")]
    prepared = prepare(clips, SPEC, tmp_path / "cache", show_progress=False)
    assert len(prepared) == 3
    assert score_clips(build_network("mfcc_gru_light").eval(), prepared, SPEC).groups == ("person 0", "person 1")


def test_video_clip_is_one_input(video_dataset, tmp_path):
    spec = VideoSpec(n_frames=3, size_px=64, face_detector="haar")
    prepared = prepare(load_dataset(video_dataset)[:2], spec, tmp_path, show_progress=False)
    scores = score_clips(build_network("mobilenet_v2_lstm").eval(), prepared, spec)
    assert scores.logits.shape == (2, 2)
