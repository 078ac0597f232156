"""Each limit is documented, and a real file comes up against it: by name, with its value and what the file has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from model_defs.decoding.media import Media
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from tests.clips import write_audio, write_clip
from tests.hostile.binary import (
    PCM,
    chunk,
    mp4,
    riff,
    sound_entry,
    trak,
    wav,
)
from tests.hostile.matroska_files import zlib_bombs
from tests.hostile.mp4_files import fragment

PROJECT_DIR = Path(__file__).resolve().parents[2]


def one_group() -> bytes:
    """Ten seconds with one keyframe."""
    return write_clip(duration_s=10.0, gop=100_000, size=(16, 16))


# limit -> what reaches it, with the limits (the default ones wherever a quick test can), the code, what the file has
REACHED: dict[str, tuple[Callable[[], bytes], Limits, ErrorCode, str]] = {
    "max_bytes": (lambda: bytes(100 * 2**20 + 1), Limits(), ErrorCode.TOO_LARGE, "104857601 bytes"),
    "max_header_bytes": (
        lambda: riff(b"WAVE", chunk(b"junk", bytes(32_768)) * 600),
        Limits(),
        ErrorCode.TOO_LARGE,
        "more than 16777216 bytes",
    ),
    "max_block_bytes": (lambda: fragment(80_000_000), Limits(), ErrorCode.TOO_LARGE, "more than 134217728 bytes"),
    "max_duration_s": (
        lambda: mp4(trak(sound_entry(), stts=((8, 10**9),), duration=2**31)),
        Limits(),
        ErrorCode.TOO_LONG,
        "s long",
    ),
    "max_tracks": (lambda: mp4(*[trak(sound_entry())] * 33), Limits(), ErrorCode.TOO_MANY_TRACKS, "33 tracks"),
    "max_pixels": (
        lambda: write_clip("matroska", "libvpx", duration_s=0.04, size=(5000, 4000)),
        Limits(),
        ErrorCode.TOO_MANY_PIXELS,
        "5000 x 4000",
    ),
    "max_audio_rate_hz": (lambda: wav(PCM, rate_hz=384_001), Limits(), ErrorCode.TOO_MANY_SAMPLES, "384001 samples"),
    "max_audio_channels": (lambda: wav(PCM, channels=40), Limits(), ErrorCode.TOO_MANY_SAMPLES, "40 channels"),
    "max_packets": (
        lambda: write_audio("matroska", "flac", duration_s=2.0),
        Limits(max_packets=5),
        ErrorCode.TOO_MANY_PACKETS,
        "more than 5 packets",
    ),
    "max_expansion": (zlib_bombs, Limits(), ErrorCode.TOO_LARGE, "unpack to"),
    "max_frames": (one_group, Limits(max_frames=50), ErrorCode.TOO_MANY_FRAMES, "more than 50 pictures"),
    "decode_budget_s": (one_group, Limits(decode_budget_s=1e-4), ErrorCode.DECODE_TIMEOUT, "more than 0.0001 s"),
}


def read_all(data: bytes, limits: Limits) -> None:
    with Media(data, limits) as media:
        if media.video is not None:
            media.frames(10)
        media.audio_segments(16_000, 4.0, 8)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_each_limit_is_reached_by_a_real_file(name: str):
    make, limits, code, has = REACHED[name]
    with pytest.raises(DetectionError) as refusal:
        read_all(make(), limits)
    assert refusal.value.code is code
    value = getattr(limits, name)
    message = refusal.value.message
    assert f"({name})" in message
    assert has in message
    assert f"{value:g}" in message or str(value) in message


def test_each_limit_is_documented_with_its_default_and_code():
    text = (PROJECT_DIR / "docs" / "serving" / "configure.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| `(\w+)` \|", text, flags=re.MULTILINE)
    documented = {name: (eval(default, {}), code) for name, default, code in rows if name in REACHED}
    defaults = Limits()
    assert documented == {name: (getattr(defaults, name), code.value) for name, (_, _, code, _) in REACHED.items()}


def test_what_is_left_out_keeps_its_default():
    assert Limits.from_dict({"max_bytes": 5}) == Limits(max_bytes=5)


@pytest.mark.parametrize(
    "record", [{"max_bites": 5}, {"max_bytes": 0}, {"decode_budget_s": -1}, {"max_tracks": "4"}, {"max_frames": True}]
)
def test_a_wrong_limit_is_named(record):
    with pytest.raises(ValueError, match=next(iter(record))):
        Limits.from_dict(record)
