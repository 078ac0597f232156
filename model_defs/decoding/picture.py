"""From a decoded frame to the picture that a player shows: upright, square pixels, SDR, RGB.

Phones store what their sensor gives and say how to turn or mirror it (the display matrix of ISO/IEC 14496-12, 8.5.2.3,
also carried by Matroska and by H.264 and HEVC themselves); broadcasters store pixels that are wider than high. A face
that is stretched, turned or mirrored is another input to a network that never saw such.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

from model_defs.decoding.hdr import HDR_TRANSFERS, ToneMapper

# A larger frame is scaled down as it is converted: 64 frames of 4K would take 1.6 GB.
MAX_SIDE_PX = 1920
MAX_PIXEL_ASPECT = 8  # width over height of one pixel, or the inverse; beyond it the number is damage


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways in which a rectangle can lie: turned, then perhaps mirrored left to right.

    Attributes:
        rotation_deg: counter-clockwise, a multiple of 90.
        is_mirrored: after that turn.
    """

    rotation_deg: int = 0
    is_mirrored: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The picture (H, W, C) as it is meant to be seen; (W, H, C) after a quarter turn."""
        turned = np.rot90(image, self.rotation_deg // 90)
        return np.ascontiguousarray(turned[:, ::-1] if self.is_mirrored else turned)


UPRIGHT = Orientation()


class PictureConverter:
    """Converts the frames of one track; keeps libav's scaler from frame to frame."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._tone_mapper = ToneMapper(self._reformatter)

    def convert(self, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> tuple[np.ndarray, Orientation]:
        """The picture that a frame shows.

        Args:
            pixel_aspect: width over height of one stored pixel; None where nothing is said.

        Returns:
            (H, W, 3) uint8 RGB, its long side at most `MAX_SIDE_PX`; and how it was turned.
        """
        width, height = shown_size(frame.width, frame.height, pixel_aspect)
        if frame.color_trc in HDR_TRANSFERS:
            rgb = self._tone_mapper.to_sdr(frame, width, height)
        else:
            rgb = self._reformatter.reformat(frame, width, height, format="rgb24", threads=1).to_ndarray()
        orientation = orientation_of(frame)
        return orientation.apply(rgb), orientation


def shown_size(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels, no side shrunk for the sake of the aspect, within `MAX_SIDE_PX`."""
    aspect = float(pixel_aspect) if pixel_aspect else 1.0
    if not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        aspect = 1.0
    wide, high = width * max(aspect, 1.0), height / min(aspect, 1.0)
    scale = min(1.0, MAX_SIDE_PX / max(wide, high))
    return max(1, round(wide * scale)), max(1, round(high * scale))


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """How a frame is to be turned, by its display matrix; upright where it has none, or one that shows nothing."""
    data = next((bytes(data) for data in frame.side_data if data.type is Type.DISPLAYMATRIX), None)
    return UPRIGHT if data is None or len(data) < 36 else orientation_of_matrix(struct.unpack("=9i", data[:36]))


def orientation_of_matrix(matrix: tuple[int, ...]) -> Orientation:
    """The orientation nearest to a display matrix (a, b, u, c, d, v, x, y, w).

    A stored point (p, q), q downwards, is shown at (a p + c q + x, b p + d q + y).
    """
    a, b, _, c, d = matrix[:5]
    if a == b == c == d == 0:
        return UPRIGHT
    is_mirrored = a * d - b * c < 0
    if is_mirrored:  # look at the turn that comes before the mirror
        a, c = -a, -c
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(0 if a + d >= 0 else 180, is_mirrored)
    return Orientation(270 if b - c >= 0 else 90, is_mirrored)
