"""Small clips for tests, written in memory: any container, codec, frame rate, rotation, with or without sound.

Every frame shows the time at which it is due, as a pattern of black and white cells that survives lossy coding, so that
a test can tell which frame came back: `read_time_s(image)`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import av
import numpy as np

from samples.clip import ordinary_scheduling

TIME_BASE = Fraction(1, 1000)  # frame times are whole milliseconds
N_COLUMNS, N_ROWS = 6, 4  # cells of the pattern: 24 bits of milliseconds, 4.6 hours
BAND = 0.2  # upper part of an upright frame that is bright red


def time_image(time_s: float, width: int = 96, height: int = 64) -> np.ndarray:
    """A time as a picture: a red band above 6 x 4 cells, white for 1. shape = (height, width, 3) uint8 RGB."""
    bits = [round(time_s * 1000) >> bit & 1 for bit in range(N_COLUMNS * N_ROWS)]
    cells = np.array(bits, np.uint8).reshape(N_ROWS, N_COLUMNS) * 255
    band = round(height * BAND)
    rows = np.arange(height - band) * N_ROWS // (height - band)
    columns = np.arange(width) * N_COLUMNS // width
    image = np.empty((height, width, 3), np.uint8)
    image[:band] = (255, 0, 0)
    image[band:] = cells[rows][:, columns, None]
    return image


def read_time_s(image: np.ndarray) -> float:
    """The time that an upright frame (H, W, 3) shows, in seconds.

    Raises:
        ValueError: the red band is not on top, so the frame is not upright.
    """
    height, width = image.shape[:2]
    band = round(height * BAND)
    red, green, _ = image[band // 4 : band // 2, width // 4 : -width // 4].reshape(-1, 3).mean(0)
    if not (red > 150 and green < 100):
        raise ValueError("the frame is not upright")
    rows = band + ((np.arange(N_ROWS) + 0.5) / N_ROWS * (height - band)).astype(int)
    columns = ((np.arange(N_COLUMNS) + 0.5) / N_COLUMNS * width).astype(int)
    bits = (image[rows][:, columns].mean(-1) > 127).reshape(-1)
    return sum(1 << bit for bit in np.flatnonzero(bits).tolist()) / 1000


def tone(duration_s: float, rate_hz: int = 16_000, frequency_hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    """A sine of peak `level`. shape = (duration_s * rate_hz,) float32."""
    times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def write_clip(
    container: str = "mp4",
    video_codec: str | None = "libx264",
    audio_codec: str | None = None,
    *,
    duration_s: float = 2.0,
    fps: int = 25,
    times_s: Sequence[float] | None = None,
    size: tuple[int, int] = (96, 64),
    gop: int = 25,
    rotation_deg: int = 0,
    images: Sequence[np.ndarray] | None = None,
    display_matrix: Sequence[int] | None = None,
    pixel_aspect: Fraction | None = None,
    sound: np.ndarray | None = None,
    rate_hz: int = 16_000,
    n_channels: int = 1,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """One clip as bytes.

    Args:
        container: a libav muxer: mp4, mov, matroska, webm, avi, wav, flac, mp3, ogg, opus, ipod (m4a), adts, ...
        video_codec, audio_codec: libav encoders; None leaves the track out.
        times_s: when each frame is due, for a variable frame rate; otherwise `fps` for `duration_s`.
        size: width and height of an upright frame.
        gop: frames from one keyframe to the next.
        rotation_deg: the frames are stored turned, with metadata to turn them counter-clockwise by so much.
        images: the frames as they are stored, each (height, width, 3) uint8; otherwise they show their times.
        display_matrix: a, b, c, d of ISO/IEC 14496-12, 8.5.2.3: how the stored frames are to be shown.
        pixel_aspect: width over height of a pixel.
        sound: mono samples, given to every channel, or (n_channels, N); otherwise a tone of `duration_s`.
        options: for the video encoder.
    """
    file = io.BytesIO()
    with (
        ordinary_scheduling(),
        av.open(file, "w", format=container, container_options=container_options or {}) as output,
    ):
        output.metadata.update(metadata or {})
        video = _add_video(output, video_codec, size, fps, gop, rotation_deg, options) if video_codec else None
        audio = (
            output.add_stream(audio_codec, rate=rate_hz, options=_ENCODER_OPTIONS.get(audio_codec))
            if audio_codec
            else None
        )
        if audio:
            if audio_codec == "wmav2":
                audio.codec_context.bit_rate = 64_000
            audio.layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[n_channels]
        if video:
            if display_matrix:
                a, b, c, d = (number << 16 for number in display_matrix)
                video.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
            if pixel_aspect:
                video.codec_context.sample_aspect_ratio = pixel_aspect
            if times_s is None:
                times_s = [index / fps for index in range(len(images) if images else round(duration_s * fps))]
            images = images or _stored(times_s, size, rotation_deg)
            output.mux(packet for frame in _frames(times_s, images) for packet in video.encode(frame))
            output.mux(video.encode(None))
        if audio:
            sound = tone(duration_s, rate_hz) if sound is None else sound
            output.mux(packet for frame in _sounds(sound, rate_hz, audio) for packet in audio.encode(frame))
            output.mux(audio.encode(None))
    return file.getvalue()


def write_audio(container: str = "wav", codec: str = "pcm_s16le", **arguments) -> bytes:
    """A sound file as bytes; arguments as for `write_clip`."""
    return write_clip(container, None, codec, **arguments)


def loop_clip(clip: bytes, container: str, n_times: int) -> bytes:
    """The same clip over and over, in another file: a long clip for the price of copying packets.

    Its frames keep showing the times of the first round.
    """
    file = io.BytesIO()
    with av.open(io.BytesIO(clip)) as source, av.open(file, "w", format=container) as output:
        packets = [packet for packet in source.demux() if packet.dts is not None]
        lengths = {
            stream.index: sum(packet.duration for packet in packets if packet.stream_index == stream.index)
            for stream in source.streams
        }
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        for index in range(n_times):
            for packet in packets:
                shift = index * lengths[packet.stream_index]
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.duration = packet.pts + shift, packet.dts + shift, packet.duration
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                copy.stream = streams[packet.stream_index]
                output.mux(copy)
    return file.getvalue()


def declare_size(mp4: bytes, width: int, height: int) -> bytes:
    """The same H.264 clip with another frame size in its headers (the sample entry of ISO/IEC 14496-12, 12.1.3)."""
    entry = mp4.rindex(b"avc1")
    return mp4[: entry + 28] + width.to_bytes(2, "big") + height.to_bytes(2, "big") + mp4[entry + 32 :]


def add_cover_art(audio: bytes, container: str, size: tuple[int, int] = (96, 64)) -> bytes:
    """The same sound file with a still picture attached as cover art."""
    file = io.BytesIO()
    with av.open(io.BytesIO(audio)) as source, av.open(file, "w", format=container) as output:
        sound = output.add_stream_from_template(source.streams.audio[0])
        cover = output.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = *size, "yuvj420p"
        cover.disposition = 1 << 10  # attached_pic
        frame = av.VideoFrame.from_ndarray(time_image(0.0, *size))
        frame.pts, frame.time_base = 0, TIME_BASE
        output.mux([*cover.encode(frame), *cover.encode(None)])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                output.mux(packet)
    return file.getvalue()


def _add_video(output, codec: str, size: tuple[int, int], fps: int, gop: int, rotation_deg: int, options):
    stream = output.add_stream(codec, rate=fps, options=_ENCODER_OPTIONS.get(codec, {}) | (options or {}))
    stream.width, stream.height = size if rotation_deg % 180 == 0 else size[::-1]
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.gop_size = gop
    # AVI and the older codecs count frames, so they cannot hold milliseconds.
    counts = output.format.name == "avi" or codec in ("mpeg4", "mpeg2video", "wmv2")
    stream.codec_context.time_base = Fraction(1, fps) if counts else TIME_BASE
    if rotation_deg:
        stream.set_display_rotation(rotation_deg)
    return stream


# The quickest setting of each encoder; one keyframe each `gop` frames and none between.
_ENCODER_OPTIONS = {
    "libx264": {"preset": "ultrafast", "bf": "2", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:scenecut=0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "8"},
    "mpeg4": {"bf": "0"},
    "vorbis": {"strict": "experimental"},
}


def _stored(times_s: Iterable[float], size: tuple[int, int], rotation_deg: int) -> Iterator[np.ndarray]:
    for time_s in times_s:
        yield np.rot90(time_image(time_s, *size), -rotation_deg // 90)


def _frames(times_s: Iterable[float], images: Iterable[np.ndarray]) -> Iterator[av.VideoFrame]:
    for time_s, image in zip(times_s, images, strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image))
        frame.pts, frame.time_base = round(time_s / TIME_BASE), TIME_BASE
        yield frame


def _sounds(samples: np.ndarray, rate_hz: int, stream) -> Iterable[av.AudioFrame]:
    convert = av.AudioResampler(stream.format, stream.layout, rate_hz, frame_size=stream.frame_size or 1024)
    if samples.ndim == 2:  # a channel a row
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout=stream.layout)
    else:
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    return [*convert.resample(frame), *convert.resample(None)]


def with_tracks(*files: bytes, container: str = "mp4", default: int = 0) -> bytes:
    """One file with the first audio and the first video track of each, their packets copied.

    Args:
        default: whose tracks are marked as those to play.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        sources = [av.open(io.BytesIO(data)) for data in files]
        pairs = []
        for kind in ("video", "audio"):
            for index, source in enumerate(sources):
                for stream in getattr(source.streams, kind)[:1]:
                    copy = output.add_stream_from_template(stream)
                    copy.disposition = int(index == default)
                    pairs.append((source, stream, copy))
        for source, stream, copy in pairs:
            source.seek(0)
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    output.mux(packet)
        for source in sources:
            source.close()
    return file.getvalue()
