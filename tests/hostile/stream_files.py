"""avi, wav, FLAC, AAC, MP3 and Ogg made by hand: headers that lie, sound that is no number, forms that change."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import numpy as np

from tests.clips import tone, write_audio
from tests.hostile.binary import PCM, Named, avi, chunk, jpeg, riff, wav


def riff_structures() -> Iterator[Named]:
    picture = jpeg()
    for scale, rate in ((0, 25), (1, 0), (0, 0), (1, 0xFFFFFFFF), (0xFFFFFFFF, 1), (0x80000000, 0x80000000)):
        yield f"avi of {rate}/{scale} fps", avi([picture] * 5, scale=scale, rate=rate)
    yield "avi that claims 4 billion frames", avi([picture] * 5, length=0xFFFFFFFF)
    yield "avi that starts in 136 years", avi([picture] * 5, start=0xFFFFFFFF)
    yield "avi of 0 x 0", avi([picture] * 5, width=0, height=0)
    yield "avi of negative height", avi([picture] * 5, height=-64 & 0x7FFF)
    yield "avi of 1,000 streams", avi([picture] * 5, n_streams=1_000)
    yield "avi of 20,000 empty frames", avi([b""] * 20_000)
    yield "avi whose frames change size", avi([jpeg(32 * n, 16 * n) for n in (1, 40, 3, 9)])
    nested = b""
    for _ in range(3_000):
        nested = chunk(b"LIST", b"hdrl", nested)
    yield "avi nested 3,000 lists deep", riff(b"AVI ", nested)
    yield "riff of 0xffffffff bytes", riff(b"AVI ", bytes(100), size=0xFFFFFFFF)
    yield "rifx", b"RIFX" + wav(PCM)[4:]
    quiet = np.zeros(16_000, "<f4")
    for name, value in (("NaN", math.nan), ("infinity", math.inf), ("1e38", 1e38), ("denormals", 1e-40)):
        yield f"wav of {name}", wav(np.full(16_000, value, "<f4").tobytes(), tag=3, bits=32)
        mixed = np.where(np.arange(16_000) % 3 == 0, np.float32(value), tone(1.0))
        yield f"wav with {name} between sound", wav(mixed.astype("<f4").tobytes(), tag=3, bits=32)
    yield "wav of double NaN", wav(np.full(16_000, math.nan, "<f8").tobytes(), tag=3, bits=64)
    yield "wav of 1e308", wav(np.full(16_000, 1e308, "<f8").tobytes(), tag=3, bits=64)
    yield "wav of silence", wav(quiet.tobytes(), tag=3, bits=32)
    yield "wav of one sample", wav(PCM[:2])
    yield "wav of half a sample", wav(PCM[:1])
    yield "wav of full scale", wav(b"\xff\x7f" * 16_000)
    for channels in (0, 9, 64, 255, 65_535):
        yield f"wav of {channels} channels", wav(PCM * 8, channels=channels)
    for rate_hz in (0, 1, 3_999, 768_000, 768_001, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"wav of {rate_hz} Hz", wav(PCM, rate_hz=rate_hz)
    for bits in (0, 1, 7, 12, 128, 65_535):
        yield f"wav of {bits} bits", wav(PCM, bits=bits)
    yield "wav of block size 0", wav(PCM, block=0)
    yield "wav of block size 65535", wav(PCM, block=65_535)
    for size in (0, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"wav that claims {size:#x} bytes", wav(PCM, data_size=size)
    for tag in (0, 0x11, 0x31, 0x55, 0x61, 0x161, 0x2000, 0xFFFF):
        yield f"wav of format {tag:#x}", wav(PCM, tag=tag)
    yield "wav of 30,000 empty chunks", riff(b"WAVE", chunk(b"junk") * 30_000)


def streams() -> Iterator[Named]:
    """Raw sound, Ogg and FLAC: headers repeated, numbers at the edge, form changed on the way."""
    flac = write_audio("flac", "flac", duration_s=0.5)
    for total in (0, 1, 2**36 - 1):
        field = (int.from_bytes(flac[18:26], "big") & ~(2**36 - 1) | total).to_bytes(8, "big")
        yield f"flac that claims {total} samples", flac[:18] + field + flac[26:]
    yield "flac of 1 Hz", flac[:18] + b"\0\0\x10" + flac[21:]
    yield "flac of header alone", flac[:42]
    yield "flac with a vast picture", flac[:4] + b"\x06\xff\xff\xff" + flac[4:]
    yield "flac of 2,000 headers", flac[:42] * 2_000
    aac, other = (
        write_audio("adts", "aac", duration_s=0.5),
        write_audio("adts", "aac", duration_s=0.5, rate_hz=44_100, n_channels=2),
    )
    yield "aac that changes its rate", aac + other + aac
    yield "endless aac", aac * 40
    yield "aac of headers alone", aac[:7] * 5_000
    mp3 = write_audio("mp3", "libmp3lame", duration_s=0.5)
    stereo = write_audio("mp3", "libmp3lame", duration_s=0.5, rate_hz=44_100, n_channels=2)
    yield "mp3 that changes its rate", mp3 + stereo + mp3
    yield "mp3 with a tag of 256 MB", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + mp3
    yield "mp3 with 3,000 tags", b"ID3\x04\0\0\0\0\0\0" * 3_000 + mp3
    yield "endless mp3", mp3 * 40
    opus = write_audio("ogg", "libopus", duration_s=0.5, rate_hz=48_000)
    vorbis = write_audio("ogg", "vorbis", duration_s=0.5, n_channels=2)
    yield "chained ogg", opus + vorbis + opus
    yield "ogg of 100 links", opus * 100
    first = opus[: opus.index(b"OggS", 4)]
    yield "ogg of 3,000 streams", b"".join(_renumber(first, n) for n in range(3_000)) + opus
    yield "ogg of 50 streams", b"".join(_renumber(first, n) for n in range(50)) + opus
    for granule in (2**63 - 1, 2**64 - 1, 2**63):
        last = opus.rindex(b"OggS")
        yield f"ogg that ends at {granule}", opus[: last + 6] + struct.pack("<Q", granule) + opus[last + 14 :]
    head = opus.index(b"OpusHead")
    for channels in (0, 3, 255):
        yield f"opus of {channels} channels", opus[: head + 9] + bytes([channels]) + opus[head + 10 :]
    yield "opus with the greatest gain", opus[: head + 16] + b"\xff\x7f" + opus[head + 18 :]
    yield "opus with a preskip of 65535", opus[: head + 10] + b"\xff\xff" + opus[head + 12 :]


def _renumber(page: bytes, serial: int) -> bytes:
    """The same Ogg page as part of another stream, with its checksum (RFC 3533, 6)."""
    page = page[:14] + struct.pack("<I", serial) + page[18:22] + bytes(4) + page[26:]
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[checksum >> 24 ^ byte]
    return page[:22] + struct.pack("<I", checksum) + page[26:]


def _ogg_table() -> list[int]:
    table = []
    for value in range(256):
        remainder = value << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ 0x04C11DB7 if remainder & 0x80000000 else remainder << 1) & 0xFFFFFFFF
        table.append(remainder)
    return table


_OGG_TABLE = _ogg_table()
