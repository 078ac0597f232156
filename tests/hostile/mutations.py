"""Random damage to a valid file: the operators of a mutating fuzzer. The same generator gives the same damage."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

# Values at the edges of what a length or count field can hold.
_EDGES = (
    0,
    1,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
# Where structures begin: boxes of mp4, chunks of RIFF, elements of Matroska, pages of Ogg, blocks of FLAC.
_MARKS = re.compile(
    rb"moov|mdhd|tkhd|mvhd|stsd|stts|stsc|stsz|stco|ctts|elst|trun|tfhd|trex|avc1|esds|hvcC|avcC|"
    rb"RIFF|LIST|hdrl|avih|strh|strf|movi|idx1|fmt |data|OggS|fLaC|"
    rb"\x1aE\xdf\xa3|\x18S\x80g|\x15I\xa9f|\x16T\xaek|\x1fC\xb6u|\x1cS\xbbk|\xae|\xe0|\xe1"
)


def mutate(draw: random.Random, data: bytes, other: bytes) -> tuple[str, bytes]:
    """The name of an operator, and the file that it made of `data`; `other` lends bytes to splices."""
    operator = draw.choice(OPERATORS)
    return operator.__name__.strip("_"), operator(draw, data, other)


def _flip_bits(draw: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 4, 32, 256))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _flip_header_bits(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Only where the headers are: mp4 has them at its end or start, the others at their start."""
    changed = bytearray(data)
    moov = data.find(b"moov")
    start, end = (moov, len(data)) if moov > 0 else (0, min(len(data), 600))
    for _ in range(draw.choice((1, 3, 10))):
        changed[draw.randrange(start, end)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _truncate(draw: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: draw.randrange(1, len(data))]


def _drop_start(draw: random.Random, data: bytes, other: bytes) -> bytes:
    return data[draw.randrange(1, len(data)) :]


def _drop_middle(draw: random.Random, data: bytes, other: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[end:]


def _repeat_part(draw: random.Random, data: bytes, other: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:end] + data[start:end] * draw.choice((1, 3, 20)) + data[end:]


def _zero_part(draw: random.Random, data: bytes, other: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + draw.choice((b"\0", b"\xff")) * (end - start) + data[end:]


def _noise_part(draw: random.Random, data: bytes, other: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + draw.randbytes(end - start) + data[end:]


def _splice(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """The start of one file and the end of another."""
    return data[: draw.randrange(1, len(data))] + other[draw.randrange(len(other)) :]


def _insert_other(draw: random.Random, data: bytes, other: bytes) -> bytes:
    place, (start, end) = draw.randrange(len(data)), _span(draw, other)
    return data[:place] + other[start:end] + data[place:]


def _edit_field(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """A value from the edges over bytes near the start of a structure, where its lengths and counts are."""
    marks = [match.start() for match in _MARKS.finditer(data)] or [0]
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        size, order = draw.choice((1, 2, 4, 8)), draw.choice(("big", "little"))
        place = min(max(0, draw.choice(marks) + draw.randrange(-8, 48)), len(data) - size)
        changed[place : place + size] = (draw.choice(_EDGES) % 2 ** (8 * size)).to_bytes(size, order)
    return bytes(changed)


def _repeat_structure(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """One structure over and over, as a header or a page that never ends."""
    marks = [match.start() for match in _MARKS.finditer(data)] or [0]
    start = draw.choice(marks)
    end = min(len(data), start + draw.choice((8, 64, 512)))
    return data[:end] + data[start:end] * draw.choice((10, 100, 500)) + data[end:]


def _span(draw: random.Random, data: bytes) -> tuple[int, int]:
    start = draw.randrange(len(data))
    return start, min(len(data), start + draw.choice((1, 16, 256, 4096)))


OPERATORS: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (
    _flip_bits,
    _flip_header_bits,
    _truncate,
    _drop_start,
    _drop_middle,
    _repeat_part,
    _zero_part,
    _noise_part,
    _splice,
    _insert_other,
    _edit_field,
    _edit_field,
    _repeat_structure,
)
