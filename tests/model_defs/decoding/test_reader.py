"""The way of the bytes into libav."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from model_defs.decoding import budget as decode_budget
from model_defs.decoding.budget import DecodeBudget
from model_defs.decoding.media import Media
from model_defs.decoding.reader import Reader
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from tests.clips import write_audio, write_clip


def test_headers_are_counted_and_content_is_not():
    reader = Reader(bytes(100), Limits(max_header_bytes=10), DecodeBudget(1.0))
    reader.begin_headers()
    assert len(reader.read(10)) == 10
    with pytest.raises(DetectionError, match="10 bytes of headers.*max_header_bytes"):
        reader.read(1)
    reader.begin_headers()
    assert len(reader.read(5)) == 5
    reader.end_headers()
    assert len(reader.read(100)) == 95


def test_a_path_is_closed_with_its_media(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(write_clip(duration_s=0.2))
    with Media(path) as media:
        reader = media._file._reader
        media.frames(1)
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_time_runs_out_inside_libav(monkeypatch):
    """A long search for the next frame is one call of libav's; the clock is looked at whenever it reads."""
    data = write_audio("mp3", "libmp3lame", duration_s=0.5) + b"\xff\xfb\x90" * 1_000_000
    seconds = itertools.count()
    monkeypatch.setattr(decode_budget.time, "perf_counter", lambda: float(next(seconds)))
    with pytest.raises(DetectionError) as refusal, Media(data, Limits(decode_budget_s=60.0)) as media:
        media.audio_segments(16_000, 4.0, 8)
    assert refusal.value.code is ErrorCode.DECODE_TIMEOUT


def test_a_small_header_cannot_claim_much_memory():
    """A tag of a wav file that claims 1 GB: libav set all of it aside."""
    from tests.hostile.binary import PCM, chunk, riff

    form = bytes.fromhex("01000100803e0000007d000002001000")
    info = b"LIST" + (2**30).to_bytes(4, "little") + b"INFO" + b"INAM" + (2**30 - 12).to_bytes(4, "little") + b"x" * 20
    data = riff(b"WAVE", chunk(b"fmt ", form), info, chunk(b"data", PCM))
    import resource

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DetectionError):
        Media(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 * 1024
