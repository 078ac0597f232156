from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from model_defs.caching.sample_codec import TrackSample, pack, unpack
from model_defs.errors import DetectionError, ErrorCode
from model_defs.notes import Note
from model_defs.preprocessing.audio import AudioSample
from model_defs.preprocessing.video import VideoSample

NOTES = (Note("damaged", "a part could not be read"), Note("odd", "klöön"))
VIDEO = VideoSample(
    crops=np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3),
    times_s=[0.1, 1 / 3],
    sources=["detected", "centre"],
    boxes=[(1, 2, 3, 4), None],
    faces_s=0.25,
)
AUDIO = AudioSample(
    starts_s=[0.0, 2.5],
    features=torch.arange(12, dtype=torch.float32).reshape(2, 3, 2),
    features_s=0.1,
    warnings=[Note("silent", "1 of 3 audio windows were silent and left out")],
)


def test_a_video_sample_comes_back_to_the_bit():
    track = unpack(pack(TrackSample("video", NOTES, VIDEO)), VideoSample)
    np.testing.assert_array_equal(track.sample.crops, VIDEO.crops)
    assert track.sample.crops.flags.writeable
    assert track.sample.times_s == VIDEO.times_s
    assert track.sample.n_faces == 1
    assert (track.file_type, track.warnings, track.refusal) == ("video", NOTES, None)


def test_an_audio_sample_comes_back_with_its_tensor():
    track = unpack(pack(TrackSample("audio", (), AUDIO)), AudioSample)
    assert isinstance(track.sample.features, torch.Tensor)
    assert torch.equal(track.sample.features, AUDIO.features)
    assert track.sample.starts_s == AUDIO.starts_s
    assert [Note(*note) for note in track.sample.warnings] == AUDIO.warnings


def test_a_refusal_comes_back_with_code_and_message():
    refusal = DetectionError(ErrorCode.NO_AUDIO_TRACK, "the mp4 file has no audio track")
    track = unpack(pack(TrackSample("video", (), None, refusal)), AudioSample)
    assert track.sample is None
    assert track.refusal.to_dict() == refusal.to_dict()


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"no tensors at all",
        pack(TrackSample("video", (), VIDEO))[:-1],
        save({"about": np.frombuffer(b"[]", np.uint8)}),
        save({"crops": np.zeros(3, np.uint8)}),
        save({"about": np.frombuffer(json.dumps({"has_sample": True}).encode(), np.uint8)}),
        pack(TrackSample("audio", (), AUDIO)),  # another kind of sample
    ],
)
def test_anything_else_is_nothing(packed):
    assert unpack(packed, VideoSample) is None
