"""The square that a video network sees: a face set upright in its frame, or the centre of the picture."""

from __future__ import annotations

import math

import cv2
import numpy as np

from model_defs.preprocessing.face_tracking import TrackedFace
from model_defs.spec import VideoSpec

MAX_ROLL_DEG = 45.0  # eyes further off level are a detector's error, not a pose it can see
MIN_EYE_SPREAD = 0.2  # eyes nearer each other, as a part of the box's side, are a profile's: their line says no roll


def crop_face(image: np.ndarray, tracked: TrackedFace, spec: VideoSpec) -> np.ndarray:
    """One crop of a frame, by a similarity transform: turned, scaled and shifted, never stretched.

    With a face: a square around the box's centre, its side the box's longer one plus
    `spec.face_margin` of it on each side, turned so that the eyes lie level if `spec.align_eyes`.
    Without: the largest centred square. What lies outside the frame is mirrored in.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (S, S, 3) uint8 RGB with S = `spec.size_px`.
    """
    if tracked.box is None:
        height, width = image.shape[:2]
        return _cut(image, (width / 2, height / 2), min(height, width), 0.0, spec.size_px)
    x0, y0, x1, y1 = tracked.box
    side = max(x1 - x0, y1 - y0, 1.0) * (1 + 2 * spec.face_margin)
    roll_deg = roll_of(tracked) if spec.align_eyes else 0.0
    return _cut(image, ((x0 + x1) / 2, (y0 + y1) / 2), side, roll_deg, spec.size_px)


def roll_of(tracked: TrackedFace) -> float:
    """Degrees, clockwise, by which the line of the eyes is off level; 0 where it is unknown or implausible."""
    if tracked.box is None or tracked.eyes is None:
        return 0.0
    x0, y0, x1, y1 = tracked.box
    (lx, ly), (rx, ry) = tracked.eyes
    if math.hypot(rx - lx, ry - ly) < MIN_EYE_SPREAD * max(x1 - x0, y1 - y0):
        return 0.0
    roll_deg = math.degrees(math.atan2(ry - ly, rx - lx))
    return roll_deg if abs(roll_deg) <= MAX_ROLL_DEG else 0.0


def _cut(image: np.ndarray, centre: tuple[float, float], side: float, roll_deg: float, size_px: int) -> np.ndarray:
    """The square of `side` around `centre`, turned by `roll_deg`, as (size_px, size_px, 3)."""
    # Drawn at about the frame's own resolution, then averaged: sampling points alone would alias on shrinking.
    oversampling = max(1, round(side / size_px))
    drawn_px = size_px * oversampling
    # cv2 puts pixel i at i where a box counts it from i to i + 1: half a pixel less here, half a pixel more there.
    matrix = cv2.getRotationMatrix2D((centre[0] - 0.5, centre[1] - 0.5), roll_deg, drawn_px / side)
    matrix[:, 2] += [drawn_px / 2 - centre[0], drawn_px / 2 - centre[1]]
    drawn = cv2.warpAffine(
        image, matrix, (drawn_px, drawn_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    if oversampling == 1:
        return drawn
    return cv2.resize(drawn, (size_px, size_px), interpolation=cv2.INTER_AREA)
