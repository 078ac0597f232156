"""What happens to media on their way: files made worse in memory, at stated levels.

A degraded clip is a file again, and goes through the same decoding, face search and features as any other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from model_defs.errors import DetectionError, ErrorCode
from training.augmentation.audio_codecs import Codec, decode, encode

AUDIO_RATE_HZ = 16_000  # that sounds are degraded at
NEAR_LOSSLESS_CRF = 10  # of the clip after a change to its pictures, so that the change alone is measured
NOISE_SHIFT_PX = 64  # by which the noise of two frames lies apart at most
PRESET = "veryfast"  # of x264: what uploads are commonly given

Change = Callable[[np.ndarray], np.ndarray]  # of one picture (H, W, 3) uint8 RGB


@dataclass(frozen=True)
class Degradation:
    """One level of one kind of damage.

    Attributes:
        modality: that it is for.
        axis: the kind, with its unit, such as `H.264 crf`.
        level: on that axis.
        apply: (path, generator) -> the degraded file.
    """

    modality: str
    axis: str
    level: float
    apply: Callable[[Path, np.random.Generator], bytes]

    @property
    def name(self) -> str:
        return f"{self.axis} {self.level:g}"

    @property
    def identity(self) -> list[object]:
        """What tells it from any other, as JSON values; raise the number when the way of making it changes."""
        return [1, self.modality, self.axis, self.level]

    def __call__(self, path: Path, seed: int) -> bytes:
        """The degraded file; the same path and seed give the same.

        Raises:
            DetectionError: `undecodable_media`, the file cannot be read for it.
        """
        with refusing():
            return self.apply(path, np.random.default_rng(seed))


@contextmanager
def refusing() -> Iterator[None]:
    """What libav says to a file that is damaged, or lacks the track, as the error that serving gives."""
    try:
        yield
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise DetectionError(ErrorCode.UNDECODABLE_MEDIA, f"the file cannot be made another: {error}") from error


def video_degradations(*, quick: bool) -> list[Degradation]:
    """From mild to harsh on each axis."""
    kinds: list[tuple[str, Sequence[float], Callable[[float], Callable]]] = [
        ("H.264 crf", (28, 40) if quick else (23, 28, 34, 40, 46), lambda crf: _recode(_same, crf)),
        ("height, share", (0.5, 0.25) if quick else (0.75, 0.5, 0.35, 0.25), lambda share: _recode(_shrink(share))),
        ("noise, sigma of 255", (10, 25) if quick else (5, 10, 20, 40), lambda sigma: _recode(_noise(sigma))),
        ("JPEG quality", (50, 15) if quick else (75, 50, 25, 10), lambda quality: _recode(_jpeg(int(quality)))),
    ]
    return [Degradation("video", axis, level, make(level)) for axis, levels, make in kinds for level in levels]


def audio_degradations(*, quick: bool) -> list[Degradation]:
    """From mild to harsh on each axis."""
    kinds: list[tuple[str, Sequence[float], Callable[[float], Callable]]] = [
        ("MP3 kbit/s", (64, 24) if quick else (128, 64, 32, 24, 16), _through("libmp3lame", "mp3")),
        ("Opus kbit/s", (24, 8) if quick else (64, 32, 16, 8), _through("libopus", "ogg")),
        ("noise, SNR dB", (20, 5) if quick else (30, 20, 10, 5, 0), _add_noise),
    ]
    return [Degradation("audio", axis, level, make(level)) for axis, levels, make in kinds for level in levels]


DEGRADATIONS = {"video": video_degradations, "audio": audio_degradations}


def _recode(
    of_clip: Callable[[np.random.Generator], Change], crf: float = NEAR_LOSSLESS_CRF
) -> Callable[[Path, np.random.Generator], bytes]:
    """H.264 in MP4 of the changed pictures, without sound; `of_clip` gives the change to all pictures of one clip."""

    def apply(path: Path, rng: np.random.Generator) -> bytes:
        file, change = io.BytesIO(), of_clip(rng)
        with av.open(str(path)) as source, av.open(file, "w", format="mp4") as output:
            track = source.streams.video[0]
            track.thread_type = "NONE"
            rate = Fraction(track.average_rate or 25).limit_denominator(1001)
            stream = None
            for index, frame in enumerate(source.decode(track)):
                image = change(frame.to_ndarray(format="rgb24"))
                image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]  # 4:2:0 wants even sides
                if stream is None:
                    stream = output.add_stream(
                        "libx264", rate=rate, options={"crf": f"{crf:g}", "preset": PRESET, "threads": "1"}
                    )
                    stream.height, stream.width = image.shape[:2]
                    stream.pix_fmt = "yuv420p"
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                picture.pts, picture.time_base = index, 1 / rate
                output.mux(stream.encode(picture))
            if stream is not None:
                output.mux(stream.encode(None))
        return file.getvalue()

    return apply


def _same(_rng: np.random.Generator) -> Change:
    return lambda image: image


def _shrink(share: float) -> Callable[[np.random.Generator], Change]:
    return lambda _rng: lambda image: cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def _noise(sigma: float) -> Callable[[np.random.Generator], Change]:
    """Gaussian noise: each frame has another part of one field, for drawing all anew takes longer than encoding."""

    def of_clip(rng: np.random.Generator) -> Change:
        fields: list[np.ndarray] = []

        def change(image: np.ndarray) -> np.ndarray:
            height, width, _ = image.shape
            if not fields:
                shape = (height + NOISE_SHIFT_PX, width + NOISE_SHIFT_PX, 3)
                fields.append(sigma * rng.standard_normal(shape, dtype=np.float32))
            y, x = rng.integers(0, NOISE_SHIFT_PX, 2)
            return np.clip(image + fields[0][y : y + height, x : x + width], 0, 255).round().astype(np.uint8)

        return change

    return of_clip


def _jpeg(quality: int) -> Callable[[np.random.Generator], Change]:
    def change(image: np.ndarray) -> np.ndarray:
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR)  # in and out in one order of channels

    return lambda _rng: change


def _through(codec: str, container: str) -> Callable:
    def at(kbit_s: float) -> Callable:
        setting = Codec(codec, container, AUDIO_RATE_HZ, int(kbit_s * 1_000))
        return lambda path, _rng: encode(decode(str(path), AUDIO_RATE_HZ), AUDIO_RATE_HZ, setting)

    return at


def _add_noise(snr_db: float) -> Callable:
    """White noise, below the RMS of the clip by so much."""

    def apply(path: Path, rng: np.random.Generator) -> bytes:
        sound = decode(str(path), AUDIO_RATE_HZ)
        rms = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
        noise = rms * 10 ** (-snr_db / 20) * rng.standard_normal(len(sound), dtype=np.float32)
        noisy = sound + noise
        noisy /= max(1.0, float(np.abs(noisy).max()))  # quieter rather than clipped
        return encode(noisy, AUDIO_RATE_HZ, Codec("pcm_s16le", "wav", AUDIO_RATE_HZ))

    return apply
