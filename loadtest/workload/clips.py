"""The files of a load test: the sample clip, others of other lengths, rates and codecs, and damaged ones.

python -m loadtest.workload.clips build/loadtest/clips
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

SMALL = {"duration_s": 4.0, "width": 640, "height": 360}
LONG_REPEATS = 60  # of the ten seconds of the sample
GARBAGE_BYTES = 100_000

# Those that are encoded, by name: ending and arguments of `make_sample`.
ENCODED = {
    "sample": ("mp4", {}),
    "short": ("mp4", {**SMALL, "duration_s": 1.5, "seed": 1}),
    "vp9": ("webm", {**SMALL, "video_codec": "libvpx-vp9", "audio_codec": "libopus", "seed": 2}),
    "fast": ("mkv", {**SMALL, "fps": 50, "video_codec": "libx265", "audio_codec": "flac", "seed": 3}),
    "no_face": ("mp4", {**SMALL, "face": False, "seed": 4}),
    "silent": ("mov", {**SMALL, "audio_codec": None, "seed": 5}),
    "speech": ("wav", {"duration_s": 6.0, "video_codec": None, "audio_codec": "pcm_s16le", "seed": 6}),
    "mp3": ("mp3", {"duration_s": 6.0, "video_codec": None, "audio_codec": "libmp3lame", "seed": 7}),
}


def _long(sample: bytes, path: Path) -> None:
    """The sample over and over in one file: ten minutes, as an encoder would write them, without encoding them."""
    import av

    offset_s = Fraction(0)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as target:
        for _ in range(LONG_REPEATS):
            starts_s, ends_s = [], []
            with av.open(io.BytesIO(sample)) as source:
                if not target.streams:
                    for stream in source.streams:
                        target.add_stream_from_template(stream)
                for packet in source.demux():
                    if packet.dts is None:
                        continue
                    starts_s.append(packet.dts * packet.time_base)
                    ends_s.append((packet.dts + packet.duration) * packet.time_base)
                    shift = round(offset_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = target.streams[packet.stream.index]
                    target.mux(packet)
            offset_s += max(ends_s) - min(starts_s)


def _truncated(sample: bytes, path: Path) -> None:
    """An upload that broke off: an mp4 without its index, which lies at the end."""
    path.write_bytes(sample[: len(sample) // 2])


def _garbage(sample: bytes, path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(GARBAGE_BYTES))


DERIVED: dict[str, tuple[str, Callable[[bytes, Path], None]]] = {
    "long": ("mp4", _long),
    "truncated": ("mp4", _truncated),
    "garbage": ("bin", _garbage),
}
NAMES = (*ENCODED, *DERIVED)


def make_clips(directory: Path, names: Sequence[str] = NAMES) -> dict[str, Path]:
    """Writes those of the files that are not there yet; name -> path."""
    from samples.clip import make_sample  # here: libav and numpy, which a reader of the names can do without

    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / f"{name}.{(ENCODED | DERIVED)[name][0]}" for name in names}
    for name, path in paths.items():
        if path.exists():
            continue
        part = path.with_name(f"part-{path.name}")  # one that was interrupted is not taken for whole
        if name in ENCODED:
            make_sample(part, **ENCODED[name][1])
        else:
            sample = make_clips(directory, ["sample"])["sample"]
            DERIVED[name][1](sample.read_bytes(), part)
        part.rename(path)
    return paths


def find_clips(directory: Path) -> dict[str, Path]:
    """The files of a directory that `make_clips` wrote; name -> path."""
    names = {f"{name}.{(ENCODED | DERIVED)[name][0]}": name for name in NAMES}
    return {names[path.name]: path for path in sorted(directory.iterdir()) if path.name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.workload.clips", description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to")
    for name, path in make_clips(parser.parse_args(argv).directory).items():
        print(f"{name:10} {path} {path.stat().st_size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
