"""Small files of valid form that decode to very much, or whose form changes on the way."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence

import av
import numpy as np

from tests.clips import loop_clip, write_audio, write_clip
from tests.hostile.binary import Named, cluster, matroska, picture_track

SILENCE = np.zeros(48_000, np.float32)


def expansions() -> Iterator[Named]:
    yield "solid film of 4096 x 4096", _solid(4096, 4096, 12)
    yield "solid film of 16384 x 1024", _solid(16_384, 1024, 3)
    yield "solid film of 5000 x 5000", _solid(5000, 5000, 1)
    yield "film of 2 x 2", _solid(2, 2, 50)
    yield "film of 16 x 4096", _solid(16, 4096, 10)
    yield "three minutes in one group of pictures", write_clip(duration_s=180.0, fps=10, gop=100_000, size=(16, 16))
    for codec, container, channels in (("libopus", "matroska", 1), ("flac", "matroska", 8)):
        silence = write_audio(container, codec, sound=SILENCE, rate_hz=48_000, n_channels=channels)
        yield f"an hour of silent {codec}, {channels} channels", loop_clip(silence, container, 3_600)
    silence = write_audio("matroska", "libopus", sound=SILENCE, rate_hz=48_000)
    yield "five hours of silent opus", loop_clip(silence, "matroska", 18_000)


def changes() -> Iterator[Named]:
    """Films whose frames change size, and sound whose rate changes, behind one header."""
    sizes = ((96, 64), (32, 160), (640, 48), (2, 2), (96, 64))
    for codec, container in (("libvpx", "webm"), ("libvpx-vp9", "webm"), ("libx264", "matroska"), ("mpeg4", "avi")):
        parts = [write_clip(container, codec, duration_s=0.4, size=size) for size in sizes]
        yield f"{container} film of {codec} that changes its size", _join(parts, container)
    big = [write_clip("webm", "libvpx", duration_s=0.2, size=size) for size in ((96, 64), (4128, 4128))]
    yield "webm film that grows beyond the limit", _join(big, "webm")
    forms = [
        write_audio("matroska", "flac", duration_s=0.4, rate_hz=rate_hz, n_channels=channels)
        for rate_hz, channels in ((16_000, 1), (48_000, 2), (8_000, 6))
    ]
    yield "matroska sound that changes its form", _join(forms, "matroska")
    clip = write_clip("webm", "libvpx", duration_s=1.0)
    draw = random.Random(0)
    for name, times in (
        ("negative", lambda index: -40 * index),
        ("equal", lambda index: 1_000),
        ("random", lambda index: draw.randrange(10_000)),
        ("vast", lambda index: index * 2**40),
    ):
        yield f"film with {name} times", _retime(clip, times)


def _solid(width: int, height: int, n_frames: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for index in range(n_frames):
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def _join(parts: Sequence[bytes], container: str) -> bytes:
    """The packets of several one-track files behind the header of the first."""
    file = io.BytesIO()
    with av.open(io.BytesIO(parts[0])) as first, av.open(file, "w", format=container) as output:
        stream, end = output.add_stream_from_template(first.streams[0]), 0
        for part in parts:
            with av.open(io.BytesIO(part)) as source:
                packets = [packet for packet in source.demux() if packet.size]
                for packet in packets:
                    copy = av.Packet(bytes(packet))
                    copy.pts = copy.dts = end
                    copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, packet.is_keyframe, stream
                    output.mux(copy)
                    end += packet.duration or 40
    return file.getvalue()


def _retime(clip: bytes, time: Callable[[int], int]) -> bytes:
    """The film with each packet in a cluster of its own, at that time in ms."""
    with av.open(io.BytesIO(clip)) as source:
        packets = [bytes(packet) for packet in source.demux() if packet.size]
    clusters = (cluster(time(index) % 2**64, packet) for index, packet in enumerate(packets))
    return matroska(picture_track(codec=b"V_VP8"), clusters=b"".join(clusters))
