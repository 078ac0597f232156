"""Containers written byte by byte, with fields that no muxer would write: mp4 boxes, Matroska elements, RIFF chunks."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import cv2

from tests.clips import time_image, tone

Named = tuple[str, bytes]  # what a file is, and the file
PCM = (tone(1.0) * 32_000).astype("<i2").tobytes()  # a second of sound at 16 kHz
UNKNOWN_SIZE = b"\x01\xff\xff\xff\xff\xff\xff\xff"  # a Matroska element that goes on until something else begins


def box(kind: bytes, *parts: bytes, size: int | None = None) -> bytes:
    """A box of ISO/IEC 14496-12; `size` is what it claims, if not the truth."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body) if size is None else size, kind) + body


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def mp4(*traks: bytes, extra: bytes = b"", movie_extra: bytes = b"", payload: bytes = bytes(4096)) -> bytes:
    """A file with its payload first, 24 bytes in, so that sample tables can point at it."""
    ftyp = box(b"ftyp", b"isom", bytes(4), b"isom")
    mvhd = full_box(b"mvhd", bytes(8), struct.pack(">II", 1000, 1000), bytes(80))
    return ftyp + box(b"mdat", payload) + box(b"moov", mvhd, *traks, movie_extra) + extra


def trak(
    entry: bytes,
    *,
    handler: bytes = b"soun",
    n_samples: int = 8,
    sample_bytes: int = 512,
    stts: Sequence[tuple[int, int]] = ((8, 1024),),
    ctts: Sequence[tuple[int, int]] = (),
    elst: Sequence[tuple[int, int, int]] = (),
    timescale: int = 16_000,
    duration: int = 8192,
    chunk: int = 24,
    samples_per_chunk: int = 8,
    dref: bytes | None = None,
    matrix: bytes = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30),
    size: tuple[int, int] = (96, 64),
    stsz: bytes | None = None,
) -> bytes:
    """One track with these tables, however wrong they are; samples are all of one size, in one chunk."""
    tkhd = full_box(
        b"tkhd", bytes(8), struct.pack(">III", 1, 0, duration), bytes(16), matrix, struct.pack(">II", *_fixed(size))
    )
    edits = full_box(b"elst", struct.pack(">I", len(elst)), *(struct.pack(">Iii", *edit) for edit in elst))
    mdhd = full_box(b"mdhd", bytes(8), struct.pack(">II", timescale, duration), bytes(4))
    hdlr = full_box(b"hdlr", bytes(4), handler, bytes(13))
    table = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1), entry),
        full_box(b"stts", struct.pack(">I", len(stts)), *(struct.pack(">II", *run) for run in stts)),
        full_box(b"ctts", struct.pack(">I", len(ctts)), *(struct.pack(">Ii", *run) for run in ctts)) if ctts else b"",
        full_box(b"stsc", struct.pack(">IIII", 1, 1, samples_per_chunk, 1)),
        stsz if stsz is not None else full_box(b"stsz", struct.pack(">II", sample_bytes, n_samples)),
        full_box(b"stco", struct.pack(">II", 1, chunk)),
    )
    dinf = box(b"dinf", dref if dref is not None else data_reference(full_box(b"url ", flags=1)))
    media = box(b"mdia", mdhd, hdlr, box(b"minf", dinf, table))
    return box(b"trak", tkhd, box(b"edts", edits) if elst else b"", media)


def data_reference(*entries: bytes) -> bytes:
    return full_box(b"dref", struct.pack(">I", len(entries)), *entries)


def sound_entry(codec: bytes = b"sowt", channels: int = 1, bits: int = 16, rate_hz: int = 16_000, extra: bytes = b""):
    fields = struct.pack(">6xHHHIHHHHI", 1, 0, 0, 0, channels, bits, 0, 0, (rate_hz << 16) & 0xFFFFFFFF)
    return box(codec, fields, extra)


def picture_entry(codec: bytes = b"jpeg", width: int = 96, height: int = 64, extra: bytes = b"") -> bytes:
    fields = struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 72 << 16, 72 << 16, 0, 1, 24, -1)
    return box(codec, fields, extra)


def element(kind: str, *parts: bytes, size: bytes | None = None) -> bytes:
    """An EBML element of RFC 8794; `kind` is its id in hex, `size` its size field, if not the truth."""
    body = b"".join(parts)
    return bytes.fromhex(kind) + (size or struct.pack(">Q", len(body) | 1 << 56)) + body


def number(kind: str, value: int) -> bytes:
    return element(kind, struct.pack(">Q", value))


def real(kind: str, value: float) -> bytes:
    return element(kind, struct.pack(">d", value))


def matroska(*tracks: bytes, info: bytes = b"", clusters: bytes = b"", extra: bytes = b"", size: bytes | None = None):
    head = element("1a45dfa3", element("4282", b"matroska"), number("4287", 4), number("4285", 2))
    info = element("1549a966", number("2ad7b1", 1_000_000), info)
    return head + element("18538067", info, element("1654ae6b", *tracks), extra, clusters, size=size)


def sound_track(
    n: int = 1, codec: bytes = b"A_PCM/INT/LIT", rate_hz: float = 16_000.0, channels: int = 1, extra: bytes = b""
) -> bytes:
    sound = element("e1", real("b5", rate_hz), number("9f", channels), number("6264", 16))
    return element("ae", number("d7", n), number("73c5", n), number("83", 2), element("86", codec), sound, extra)


def picture_track(
    n: int = 1, codec: bytes = b"V_MJPEG", width: int = 96, height: int = 64, extra: bytes = b""
) -> bytes:
    video = element("e0", number("b0", width), number("ba", height))
    return element("ae", number("d7", n), number("73c5", n), number("83", 1), element("86", codec), video, extra)


def cluster(time: int, *blocks: bytes, n: int = 1) -> bytes:
    """Blocks of one track, 20 ms apart."""
    simple = (
        element("a3", struct.pack(">BhB", 0x80 | n, min(20 * index, 32_000), 0x80), block)
        for index, block in enumerate(blocks)
    )
    return element("1f43b675", number("e7", time), *simple)


def wav(
    samples: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate_hz: int = 16_000,
    bits: int = 16,
    block: int | None = None,
    data_size: int | None = None,
) -> bytes:
    block = (channels * bits // 8 if block is None else block) & 0xFFFF
    form = struct.pack("<HHIIHH", tag, channels, rate_hz, (rate_hz * block) & 0xFFFFFFFF, block, bits)
    return riff(b"WAVE", chunk(b"fmt ", form), chunk(b"data", samples, size=data_size))


def riff(kind: bytes, *chunks: bytes, size: int | None = None) -> bytes:
    return chunk(b"RIFF", kind, *chunks, size=size)


def chunk(kind: bytes, *parts: bytes, size: int | None = None) -> bytes:
    body = b"".join(parts)
    return kind + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def avi(
    frames: Sequence[bytes],
    *,
    scale: int = 1,
    rate: int = 25,
    codec: bytes = b"MJPG",
    width: int = 96,
    height: int = 64,
    start: int = 0,
    length: int = 25,
    n_streams: int = 1,
) -> bytes:
    """A film of one kind of frame, with this header in each of its streams."""
    main = struct.pack("<14I", 40_000, 0, 0, 0x10, length, 0, n_streams, 0, width, height, 0, 0, 0, 0)
    header = b"vids" + codec + struct.pack("<10I4H", 0, 0, 0, scale, rate, start, length, 0, 0, 0, 0, 0, width, height)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, codec, 0, 0, 0, 0, 0)
    stream = chunk(b"LIST", b"strl", chunk(b"strh", header), chunk(b"strf", form))
    movie = b"".join(chunk(b"00dc", frame) for frame in frames)
    return riff(
        b"AVI ", chunk(b"LIST", b"hdrl", chunk(b"avih", main), stream * n_streams), chunk(b"LIST", b"movi", movie)
    )


def jpeg(width: int = 96, height: int = 64) -> bytes:
    """One picture, a whole frame of a film in JPEGs."""
    return cv2.imencode(".jpg", time_image(0.5, width, height))[1].tobytes()


def _fixed(size: tuple[int, int]) -> tuple[int, int]:
    return tuple((side << 16) & 0xFFFFFFFF for side in size)
