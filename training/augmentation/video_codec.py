"""Frames through H.264 and back, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

_RATE = Fraction(25)


def transcode_h264(frames: Sequence[np.ndarray], crf: int) -> list[np.ndarray]:
    """Encode and decode; the first frame becomes an intra frame, the rest are predicted from it.

    Args:
        frames: each (H, W, 3) uint8 RGB, of one size; H and W even, as 4:2:0 wants.
        crf: constant rate factor, 0 (lossless) to 51.
    """
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuv420p", 1 / _RATE, 1
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
    packets = []
    for index, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = index, 1 / _RATE
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [picture for packet in packets for picture in decoder.decode(packet)] + decoder.decode(None)
    return [picture.to_ndarray(format="rgb24") for picture in decoded]
