"""Matroska files made by hand: endless, nested, packed, with numbers that are none."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator

from tests.hostile.binary import (
    PCM,
    UNKNOWN_SIZE,
    Named,
    cluster,
    element,
    jpeg,
    matroska,
    number,
    picture_track,
    real,
    sound_track,
)


def matroska_structures() -> Iterator[Named]:
    picture = jpeg()
    blocks = cluster(0, *[picture] * 5)
    sound = cluster(0, *[PCM[:640]] * 50)
    yield "endless matroska", matroska(sound_track(), clusters=sound * 20, size=UNKNOWN_SIZE)
    yield (
        "matroska with clusters of unknown size",
        matroska(sound_track(), clusters=sound.replace(sound[4:12], UNKNOWN_SIZE, 1) * 5),
    )
    for value in (math.nan, math.inf, -math.inf, 1e300, -1.0, 0.0, 1e9):
        yield f"matroska of duration {value}", matroska(picture_track(), info=real("4489", value), clusters=blocks)
        yield f"matroska of {value} Hz", matroska(sound_track(rate_hz=value), clusters=sound)
    for value in (0, 1, 2**62, 2**64 - 1):
        yield (
            f"matroska with a frame each {value} ns",
            matroska(picture_track(extra=number("23e383", value)), clusters=blocks),
        )
        yield (
            f"matroska with time scale {value}",
            matroska(picture_track(), info=number("2ad7b1", value), clusters=blocks),
        )
        yield f"matroska cluster at {value}", matroska(picture_track(), clusters=cluster(value, picture))
        yield f"matroska of {value} channels", matroska(sound_track(channels=value), clusters=sound)
        yield f"matroska of width {value}", matroska(picture_track(width=value), clusters=blocks)
    nested = b""
    for _ in range(3_000):
        nested = element("ae", nested)
    yield "matroska nested 3,000 deep", matroska(nested)
    yield "matroska of 17 tracks", matroska(*(sound_track(n) for n in range(1, 18)), clusters=sound)
    yield "matroska of 5,000 tracks", matroska(*(sound_track(n) for n in range(1, 5_001)), clusters=sound)
    yield "matroska without tracks", matroska(clusters=sound)
    yield "matroska without clusters", matroska(picture_track())
    yield (
        "matroska whose cluster lies",
        matroska(sound_track(), clusters=sound[:4] + struct.pack(">Q", 1 << 56 | 2**50) + sound[12:]),
    )
    yield "matroska with zlib bombs for sound", zlib_bombs()
    yield "matroska with zlib bombs for pictures", zlib_bombs(picture_track)
    private = element("63a2", zlib.compress(bytes(9_900_000), 9))
    yield "matroska with a packed header", matroska(picture_track(extra=_PACKED + private), clusters=blocks)
    yield (
        "matroska of subtitles alone",
        matroska(element("ae", number("d7", 1), number("83", 17), element("86", b"S_TEXT/UTF8"))),
    )
    yield (
        "matroska of zeros as h264",
        matroska(picture_track(codec=b"V_MPEG4/ISO/AVC"), clusters=cluster(0, *[bytes(500)] * 5)),
    )
    yield "matroska of zeros as opus", matroska(sound_track(codec=b"A_OPUS"), clusters=cluster(0, *[bytes(500)] * 5))
    yield (
        "matroska of zeros as vorbis",
        matroska(sound_track(codec=b"A_VORBIS"), clusters=cluster(0, *[bytes(500)] * 5)),
    )
    yield "webm of zeros as vp9", matroska(picture_track(codec=b"V_VP9"), clusters=cluster(0, *[bytes(500)] * 5))


# ContentEncodings of RFC 9559: what the blocks hold is zlib.
_PACKED = element("6d80", element("6240", element("5034", number("4254", 0))))


def zlib_bombs(track: Callable[..., bytes] = sound_track) -> bytes:
    """A megabyte that unpacks to a gigabyte."""
    return matroska(track(extra=_PACKED), clusters=cluster(0, *[zlib.compress(bytes(9_900_000), 9)] * 100))
