from __future__ import annotations

import pytest

from client.padding import unique
from samples.clip import make_sample

CONTAINERS = {
    "mp4": {},
    "mov": {},
    "mkv": {},
    "webm": {"video_codec": "libvpx-vp9", "audio_codec": "libopus"},
    "avi": {"video_codec": "mpeg4", "audio_codec": "pcm_s16le"},
    "wav": {"video_codec": None, "audio_codec": "pcm_s16le"},
    "flac": {"video_codec": None, "audio_codec": "flac"},
    "mp3": {"video_codec": None, "audio_codec": "libmp3lame"},
    "ogg": {"video_codec": None, "audio_codec": "libopus"},
    "m4a": {"video_codec": None},
}


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_other_bytes_have_the_same_verdict(suffix, detector, tmp_path):
    arguments = {"duration_s": 1.5, "width": 128, "height": 96} | CONTAINERS[suffix]
    path = make_sample(tmp_path / f"clip.{suffix}", **arguments)
    data = path.read_bytes()
    copies = {unique(data) for _ in range(3)}
    assert len(copies | {data}) == 4
    padded = tmp_path / f"padded.{suffix}"
    padded.write_bytes(copies.pop())
    before, after = (detector.detect(file) for file in (path, padded))
    for key in ("probabilities", "modalities", "warnings"):
        assert before[key] == after[key]
