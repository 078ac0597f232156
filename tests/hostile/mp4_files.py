"""mp4 files made by hand: broken structure, counts and sizes at the edge, wrong times."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.clips import declare_size, write_clip
from tests.hostile.binary import Named, box, full_box, jpeg, mp4, picture_entry, sound_entry, trak

HUGE = (0xFFFFFFFF, 0x7FFFFFFF, 170_000_000)


def mp4_structures() -> Iterator[Named]:
    clip = write_clip(audio_codec="aac", duration_s=0.5)
    moov = clip.index(b"moov") - 4
    ftyp = clip[: clip.index(b"ftyp") - 4 + int.from_bytes(clip[:4], "big")]
    yield "moov-less mp4", clip[:moov]
    yield "mp4 of ftyp alone", ftyp
    yield "mp4 of moov alone", clip[moov:]
    yield "mp4 with an empty moov", ftyp + box(b"moov")
    yield "mp4 with two moovs", clip + clip[moov:]
    yield "mp4 with an mdat that never ends", ftyp + box(b"mdat", clip, size=0)
    for size in (0, 1, 7, 8, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"mp4 whose moov has size {size:#x}", clip[:moov] + struct.pack(">I", size) + clip[moov + 4 :]
    wide = struct.pack(">I4sQ", 1, b"moov", 2**63 - 1)
    yield "mp4 with a 64-bit box of 8 exabytes", ftyp + wide + clip[moov + 8 :]
    nested = b""
    for _ in range(20_000):
        nested = (
            struct.pack(">I4s", (8 + len(nested)) & 0xFFFFFFFF, b"udta") + nested if len(nested) < 40_000 else nested
        )
    yield "mp4 nested 5,000 boxes deep", ftyp + box(b"moov", nested)
    yield "mp4 nested in traks", ftyp + box(b"moov", box(b"trak", box(b"trak", box(b"mdia", box(b"minf", nested)))))
    sound = sound_entry()
    for count in HUGE:
        yield f"mp4 of {count} samples in stsz", mp4(trak(sound, n_samples=count, samples_per_chunk=count))
        yield f"mp4 of {count} samples in stsc", mp4(trak(sound, samples_per_chunk=count))
        yield f"mp4 with stts of {count}", mp4(trak(sound, stts=((count, 1024),)))
        yield f"mp4 with delta {count}", mp4(trak(sound, stts=((8, count),)))
        table = full_box(b"stsz", struct.pack(">II", 0, count))
        yield f"mp4 with a short stsz of {count}", mp4(trak(sound, stsz=table))
        yield (
            f"mp4 film of {count} samples",
            mp4(
                trak(
                    picture_entry(),
                    handler=b"vide",
                    n_samples=count,
                    samples_per_chunk=count,
                    stts=((count, 1),),
                    sample_bytes=1,
                )
            ),
        )
        yield f"mp4 fragment of {count} samples", fragment(count)
    many = trak(sound)
    yield "mp4 of 17 tracks", mp4(*[many] * 17)
    yield "mp4 of 3,000 tracks", mp4(*[many] * 3_000)
    yield "mp4 of zero-byte samples", mp4(trak(sound, sample_bytes=0, n_samples=1_000_000, samples_per_chunk=1_000_000))
    yield "mp4 of samples beyond its end", mp4(trak(sound, chunk=0xFFFFFF00))
    yield "mp4 of samples inside its header", mp4(trak(sound, chunk=0))
    yield "mp4 of a 2 GB sample", mp4(trak(sound, sample_bytes=0x7FFFFFFF, n_samples=1, samples_per_chunk=1))
    yield "mp4 of 0 channels", mp4(trak(sound_entry(channels=0)))
    yield "mp4 of 65535 channels", mp4(trak(sound_entry(channels=65_535)))
    yield "mp4 of 0 Hz", mp4(trak(sound_entry(rate_hz=0)))
    yield "mp4 of 0 bits", mp4(trak(sound_entry(bits=0)))
    yield "mp4 with an alac cookie of giant frames", mp4(trak(sound_entry(b"alac", extra=_alac_cookie(2**24))))
    yield "mp4 with a vast stsd", mp4(trak(sound_entry(extra=bytes(500_000))))
    codecs = (b"mp4v", b"hev1", b"av01", b"vp09", b"ap4h", b"rle ", b"tmcd", b"\0\0\0\0")
    for codec in codecs:
        yield f"mp4 of zeros as {codec!r}", mp4(trak(picture_entry(codec), handler=b"vide"))
    yield "mp4 with encrypted sound", mp4(trak(sound_entry(b"enca", extra=box(b"sinf", box(b"frma", b"mp4a")))))
    yield (
        "mp4 with a vast metadata list",
        clip + box(b"moov", box(b"udta", box(b"meta", bytes(4), box(b"ilst", bytes(2**20))))),
    )


def mp4_times() -> Iterator[Named]:
    picture = jpeg()

    def film(**fields) -> bytes:
        defaults = {"n_samples": 8, "sample_bytes": len(picture), "timescale": 8, "duration": 8, "stts": ((8, 1),)}
        return mp4(trak(picture_entry(), handler=b"vide", **(defaults | fields)), payload=picture * 8)

    yield "mp4 of 0 fps", film(stts=((8, 0),))
    yield "mp4 of 0 fps and no duration", film(stts=((8, 0),), duration=0)
    yield "mp4 of no timescale", film(timescale=0)
    yield "mp4 of 4 billion ticks a second", film(timescale=0xFFFFFFFF)
    yield "mp4 of a frame each 136 years", film(timescale=1, stts=((8, 0xFFFFFFFF),), duration=0xFFFFFFFF)
    yield "mp4 that claims 136 years", film(timescale=1, duration=0xFFFFFFFF)
    yield "mp4 with negative deltas", film(stts=((4, 1), (4, 0xFFFFFFFE)))
    yield "mp4 with negative composition times", film(ctts=((8, -1_000_000),))
    yield "mp4 with the lowest composition times", film(ctts=((4, 5), (4, -(2**31))))
    yield "mp4 with an edit before its start", film(elst=((1000, -1, 1 << 16),))
    yield "mp4 with an edit beyond its end", film(elst=((1000, 2**31 - 1, 1 << 16),))
    yield "mp4 with a negative edit", film(elst=((1000, -(2**31), 1 << 16),))
    yield "mp4 with an edit at no speed", film(elst=((1000, 0, 0),))
    yield "mp4 with 20,000 edits", film(elst=((1, 0, 1 << 16),) * 20_000)
    yield "mp4 with 50,000 one-frame runs", film(stts=((1, 1),) * 50_000, n_samples=50_000, samples_per_chunk=50_000)
    for name, matrix in (
        ("zero", bytes(36)),
        ("full", b"\xff" * 36),
        ("odd", struct.pack(">9i", 1, 2, 3, 4, 5, 6, 7, 8, 9)),
    ):
        yield f"mp4 with a {name} matrix", film(matrix=matrix)
    clip = write_clip(duration_s=0.2)
    for size in ((0, 0), (1, 1), (3, 5), (65_535, 1), (1, 65_535), (65_535, 65_535), (10_000, 10_000)):
        yield f"mp4 that declares {size[0]} x {size[1]}", declare_size(clip, *size)


def _alac_cookie(frame_length: int) -> bytes:
    numbers = struct.pack(">IBBBBBBHIII", frame_length, 0, 16, 40, 10, 14, 1, 255, 0, 0, 16_000)
    return full_box(b"alac", numbers)


def fragment(n_samples: int) -> bytes:
    """A fragmented film whose one run has so many samples of a default size."""
    trex = full_box(b"trex", struct.pack(">IIIII", 1, 1, 1, 1, 0))
    tfhd = full_box(b"tfhd", struct.pack(">I", 1), flags=0x20000)
    traf = box(b"traf", tfhd, full_box(b"tfdt", bytes(4)), full_box(b"trun", struct.pack(">I", n_samples)))
    moof = box(b"moof", full_box(b"mfhd", struct.pack(">I", 1)), traf)
    track = trak(sound_entry(), n_samples=0, stts=(), samples_per_chunk=1)
    return mp4(track, movie_extra=box(b"mvex", trex), extra=moof + box(b"mdat", bytes(4096)))
