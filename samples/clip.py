"""A sample clip that the project makes itself, offline: a face that moves a little, and a voice.

    python -m samples.clip sample.mp4
    python -m samples.clip hour.mkv --duration-s 3600 --fps 5 --seed 7

The picture is the portrait of the astronaut Eileen Collins that scikit-image
carries (NASA, public domain). The voice is eSpeak NG reading sentences of our
own. So the picture is real and the speech is not.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

from samples.speech import synthesize

PICTURES = {True: "astronaut.png", False: "coffee.png"}  # with a face and without; both free of copyright
FACE_CENTRE = (0.44, 0.23)  # of the astronaut's picture, as a part of its width and height
RATE_HZ = 44_100
SPEECH_RMS = 10 ** (-20 / 20)  # -20 dBFS, the level of an ordinary recording
GAP_S = 0.5  # pause before the text starts over
AUDIO_BLOCK = 1_024
ENCODER_OPTIONS = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "veryfast", "x265-params": "log-level=error"},
}


def make_sample(
    path: Path,
    duration_s: float = 10.0,
    width: int = 1280,
    height: int = 720,
    fps: int = 25,
    video_codec: str | None = "libx264",
    audio_codec: str | None = "aac",
    seed: int = 0,
    speech: bool = True,
    face: bool = True,
) -> Path:
    """Writes one clip; the same arguments give the same bytes.

    Args:
        path: where to; its ending names the container (mp4, mov, mkv, webm, avi, wav, flac, mp3, ogg, m4a).
        duration_s: length of both tracks.
        video_codec: an FFmpeg encoder (libx264, libx265, libvpx-vp9, libsvtav1, mpeg4), or None for no video track.
        audio_codec: an FFmpeg encoder (aac, libopus, flac, libmp3lame, pcm_s16le), or None for no audio track.
        seed: moves the camera and tunes the voice.
        speech: False leaves the audio track silent.
        face: False shows a cup of coffee.

    Returns:
        The path.

    Raises:
        ValueError: there would be no track, the length is not above 0, or a video side is odd.
        av.error.FFmpegError: the container cannot hold that codec.
    """
    if video_codec is None and audio_codec is None:
        raise ValueError("video_codec and audio_codec are both None; a clip needs one track")
    if not duration_s > 0:
        raise ValueError(f"duration_s is {duration_s}; it must be above 0")
    if video_codec and (width % 2 or height % 2):
        raise ValueError(f"the picture is {width}x{height}; 4:2:0 video needs even sides")
    rng = np.random.default_rng(seed)
    # bitexact: no random identifiers and no version strings in the file.
    with ordinary_scheduling(), av.open(path, "w", options={"fflags": "+bitexact"}) as clip:
        tracks = []
        if video_codec:
            pictures = _pictures(duration_s, width, height, fps, rng, face=face)
            tracks.append(_video_packets(clip, video_codec, width, height, fps, pictures))
        if audio_codec:
            samples = _speech(duration_s, rng) if speech else np.zeros(round(duration_s * RATE_HZ), np.float32)
            tracks.append(_audio_packets(clip, audio_codec, samples))
        _interleave(clip, tracks)
    return path


@contextmanager
def ordinary_scheduling() -> Iterator[None]:
    """Takes back what an encoder does to the thread that calls it.

    SVT-AV1, run as root, makes it a real-time one (SCHED_FIFO, priority 99). It would stay that, hand it on to every
    process that it starts, and so keep whatever else the machine does from running.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


def _pictures(
    duration_s: float, width: int, height: int, fps: int, rng: np.random.Generator, *, face: bool
) -> Iterator[Image.Image]:
    """The pictures of the clip: a slow pan and zoom about the face, as of a camera held by hand."""
    # Read as a file: importing skimage.data would drag in scipy for one picture.
    with files("skimage").joinpath("data", PICTURES[face]).open("rb") as stored:
        picture = Image.open(stored).convert("RGB")
    zoom_phase, x_phase, y_phase = rng.uniform(0, 2 * math.pi, 3)
    centre_x, centre_y = (FACE_CENTRE[0] * picture.width, FACE_CENTRE[1] * picture.height)
    widest = min(picture.width, picture.height * width / height)
    for index in range(max(1, round(duration_s * fps))):
        time_s = index / fps
        box_width = widest * (0.82 + 0.08 * math.sin(0.9 * time_s + zoom_phase))
        box_height = box_width * height / width
        left = centre_x - box_width * (0.5 + 0.04 * math.sin(0.7 * time_s + x_phase))
        top = centre_y - box_height * (0.45 + 0.03 * math.sin(1.1 * time_s + y_phase))
        left = min(max(left, 0.0), picture.width - box_width)
        top = min(max(top, 0.0), picture.height - box_height)
        box = (left, top, left + box_width, top + box_height)
        yield picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _speech(duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """Samples (N,) float32 at RATE_HZ; the text starts over until the time is filled."""
    voice, voice_rate_hz = synthesize(pitch=int(rng.integers(30, 60)), words_per_minute=int(rng.integers(150, 180)))
    voice = np.pad(voice, (0, round(GAP_S * voice_rate_hz)))
    voice = voice * min(SPEECH_RMS / np.sqrt(np.mean(voice**2)), 0.9 / np.abs(voice).max())
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE_HZ)
    resampled = [*resampler.resample(_audio_frame(voice, voice_rate_hz)), *resampler.resample(None)]
    return np.resize(np.concatenate([frame.to_ndarray()[0] for frame in resampled]), round(duration_s * RATE_HZ))


def _audio_frame(samples: np.ndarray, rate_hz: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis].astype(np.float32), format="fltp", layout="mono")
    frame.rate = rate_hz
    return frame


def _video_packets(
    clip: av.container.OutputContainer, codec: str, width: int, height: int, fps: int, pictures: Iterator[Image.Image]
) -> Iterator[av.Packet[Any]]:
    stream = cast(VideoStream, clip.add_stream(codec, rate=fps))
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    stream.thread_count = 2  # fixed: the slices, and so the bytes, depend on it
    stream.options = dict(ENCODER_OPTIONS.get(codec, {}))

    def packets() -> Iterator[av.Packet[Any]]:
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = index, Fraction(1, fps)
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()


def _audio_packets(clip: av.container.OutputContainer, codec: str, samples: np.ndarray) -> Iterator[av.Packet[Any]]:
    stream = cast(AudioStream, clip.add_stream(codec, rate=_encoder_rate_hz(codec), layout="mono"))
    stream.codec_context.flags |= av.codec.context.Flags.bitexact

    def packets() -> Iterator[av.Packet[Any]]:
        for start in range(0, len(samples), AUDIO_BLOCK):
            frame = _audio_frame(samples[start : start + AUDIO_BLOCK], RATE_HZ)
            frame.pts, frame.time_base = start, Fraction(1, RATE_HZ)
            yield from stream.encode(frame)  # PyAV converts to the encoder's format, rate and frame size
        yield from stream.encode(None)

    return packets()


def _encoder_rate_hz(codec: str) -> int:
    return 48_000 if codec == "libopus" else RATE_HZ  # Opus knows no 44.1 kHz


def _interleave(clip: av.container.OutputContainer, tracks: list[Iterator[av.Packet[Any]]]) -> None:
    """Muxes the tracks side by side in time, so that the muxer never has to hold one back."""
    heads = [(track, next(track, None)) for track in tracks]
    while waiting := [(track, packet) for track, packet in heads if packet is not None]:
        track, packet = min(waiting, key=lambda head: float((head[1].dts or 0) * head[1].time_base))
        clip.mux(packet)
        heads = [(other, next(other, None) if other is track else held) for other, held in waiting]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m samples.clip", description="Make a sample clip offline.")
    parser.add_argument("path", type=Path, metavar="OUT", help="file to write; its ending names the container")
    parser.add_argument("--duration-s", type=float, default=10.0, help="length in seconds (%(default)s)")
    parser.add_argument("--width", type=int, default=1280, help="picture width in pixels (%(default)s)")
    parser.add_argument("--height", type=int, default=720, help="picture height in pixels (%(default)s)")
    parser.add_argument("--fps", type=int, default=25, help="pictures a second (%(default)s)")
    parser.add_argument("--video-codec", default="libx264", help="FFmpeg encoder, or none (%(default)s)")
    parser.add_argument("--audio-codec", default="aac", help="FFmpeg encoder, or none (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="moves the camera and tunes the voice (%(default)s)")
    parser.add_argument("--no-speech", dest="speech", action="store_false", help="leave the audio track silent")
    parser.add_argument("--no-face", dest="face", action="store_false", help="show a cup of coffee")
    options = vars(parser.parse_args(arguments))
    for track in ("video_codec", "audio_codec"):
        options[track] = None if options[track] == "none" else options[track]
    print(make_sample(**options))


if __name__ == "__main__":
    main()
