"""Random degradation of face crops in training, the same for both classes.

What betrays a forgery in one collection (its compression, size, sharpness) is seldom what betrays the next, so all
of it is shuffled. Labels are never read here. Every function takes its own random generator: the same seed gives the
same clip, however many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from training.augmentation.video_codec import transcode_h264

Change = Callable[[np.ndarray], np.ndarray]  # of one frame (S, S, 3) uint8
_CRF = (18, 36)  # of H.264, both inclusive; its default is 23
_INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)


def augment_crops(crops: np.ndarray, rng: Generator, h264_share: float = 0.0) -> np.ndarray:
    """Flip, shift, recolour and degrade a clip; one draw of parameters for all its frames.

    Args:
        crops: (T, S, S, 3) uint8 RGB; S must be even where there is H.264.
        rng: source of every random choice.
        h264_share: how often all of it is encoded and decoded at the end, 0 to 1.

    Returns:
        A new array of the same shape and type.
    """
    frames = [frame[:, ::-1] if flip else frame for flip in [rng.random() < 0.5] for frame in crops]
    matrix = random_affine(crops.shape[1], rng, shift=0.05, scale=0.08, angle_deg=6.0)
    steps: list[Change] = [lambda frame: warp(frame, matrix)]
    chances = [(0.6, recolouring), (0.25, resampling), (0.15, blurring), (0.4, jpeg), (0.15, noising), (0.05, grey)]
    steps += [draw(rng) for chance, draw in chances if rng.random() < chance]
    for step in steps:
        frames = [step(frame) for frame in frames]
    if rng.random() < h264_share:  # 0 changes nothing that is drawn after it
        frames = transcode_h264(frames, int(rng.integers(_CRF[0], _CRF[1] + 1)))
    return np.stack(frames)


def random_affine(size_px: int, rng: Generator, *, shift: float, scale: float, angle_deg: float) -> np.ndarray:
    """A (2, 3) matrix about the centre; `shift` and `scale` are shares of the side."""
    centre = size_px / 2
    matrix = cv2.getRotationMatrix2D(
        (centre, centre), rng.uniform(-angle_deg, angle_deg), 1 + rng.uniform(-scale, scale)
    )
    matrix[:, 2] += rng.uniform(-shift, shift, 2) * size_px
    return matrix


def warp(frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) through an affine matrix (2, 3), mirrored beyond its edges."""
    size = frame.shape[1::-1]
    return cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def recolouring(rng: Generator) -> Change:
    """Gain, offset and tint of the whole picture."""
    gain = 1 + rng.uniform(-0.15, 0.15) + rng.uniform(-0.06, 0.06, 3)
    offset = rng.uniform(-16, 16)
    gamma = np.exp(rng.uniform(-0.2, 0.2))
    levels = 255.0 * (np.arange(256)[:, None] / 255.0) ** gamma
    table = to_uint8((levels - 128.0) * gain + 128.0 + offset)[None]
    saturation = 1 + rng.uniform(-0.3, 0.3)

    def recolour(frame: np.ndarray) -> np.ndarray:
        frame = cv2.LUT(np.ascontiguousarray(frame), table)
        grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(frame, saturation, grey, 1 - saturation, 0)

    return recolour


def resampling(rng: Generator) -> Change:
    """Scaled down and up again, as players and uploads do."""
    factor = rng.uniform(0.45, 0.95)
    down, up = rng.choice(_INTERPOLATIONS[1:]), rng.choice(_INTERPOLATIONS[:3], p=[0.1, 0.45, 0.45])

    def resample(frame: np.ndarray) -> np.ndarray:
        small = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=int(down))
        return cv2.resize(small, frame.shape[1::-1], interpolation=int(up))

    return resample


def blurring(rng: Generator) -> Change:
    """A Gaussian blur."""
    sigma_px = rng.uniform(0.3, 1.3)
    return lambda frame: cv2.GaussianBlur(frame, (0, 0), sigma_px)


def sharpening(rng: Generator) -> Change:
    """An unsharp mask."""
    amount, sigma_px = rng.uniform(0.3, 1.2), rng.uniform(0.8, 2.5)
    return lambda frame: cv2.addWeighted(frame, 1 + amount, cv2.GaussianBlur(frame, (0, 0), sigma_px), -amount, 0)


def jpeg(rng: Generator) -> Change:
    """JPEG compression."""
    quality = int(rng.integers(40, 96))
    return lambda frame: cv2.imdecode(
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


def noising(rng: Generator) -> Change:
    """Gaussian noise, new in each frame."""
    sigma, seed = rng.uniform(1.0, 7.0), int(rng.integers(2**31))
    frame_rng = np.random.default_rng(seed)  # a new pattern for each frame

    def noise(frame: np.ndarray) -> np.ndarray:
        return to_uint8(frame + frame_rng.standard_normal(frame.shape, dtype=np.float32) * sigma)

    return noise


def grey(_rng: Generator) -> Change:
    """No colour."""
    return lambda frame: cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Rounded and cut to 0..255, uint8."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
