"""Forgeries made of real faces, to train on where forgeries are few.

What all face forgeries have in common is that something was pasted onto something else. A network that has seen
many such seams, and no one system's other traces, does better on systems it never met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator

from training.augmentation.faces import (
    Change,
    blurring,
    jpeg,
    random_affine,
    recolouring,
    resampling,
    sharpening,
    to_uint8,
    warp,
)


def self_blend(crops: np.ndarray, face_share: float, rng: Generator) -> np.ndarray:
    """A pseudo-fake: each real face pasted onto itself with a mismatch, along a soft random edge.

    After Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images"
    (CVPR 2022). The crops are levelled and centred on the face box already, so the
    face is taken to be a random ellipse there instead of a hull of landmarks.

    Args:
        crops: (T, S, S, 3) uint8 RGB of a real face.
        face_share: side of the face box as a share of the crop's.
        rng: source of every random choice.

    Returns:
        A new array of the same shape and type.
    """
    size_px = crops.shape[1]
    mask = _face_mask(size_px, face_share, rng)[..., None] * rng.choice([0.5, 0.75, 1.0, 1.0, 1.0])
    matrix = random_affine(size_px, rng, shift=0.03, scale=0.05, angle_deg=2.0)
    mismatch = _mismatch(rng)
    change_face = rng.random() < 0.5
    blended = []
    for frame in crops:
        changed = _apply(mismatch, frame)
        face, background = (changed, frame) if change_face else (frame, changed)
        blended.append(to_uint8(mask * warp(face, matrix) + (1.0 - mask) * background))
    return np.stack(blended)


def swap_faces(crops: np.ndarray, donors: Sequence[np.ndarray], face_share: float, rng: Generator) -> np.ndarray:
    """A pseudo-fake: another person's face in place of each, in its colours, along a soft random edge.

    After Li et al., "Face X-ray for More General Face Forgery Detection" (CVPR 2020). Of the donors, the one whose
    face looks most alike is taken.

    Args:
        crops: (T, S, S, 3) uint8 RGB of a real face.
        donors: other people's crops, each (T or more, S, S, 3).
        face_share: side of the face box as a share of the crop's.
        rng: source of every random choice.

    Returns:
        A new array of the same shape and type as `crops`.
    """
    size_px = crops.shape[1]
    mask = _face_mask(size_px, face_share, rng, parts=_FACE_PARTS[:1])[..., None]
    inner = mask[..., 0] > 0.5
    pattern = _pattern(crops[0])
    donor = min(donors, key=lambda faces: float(np.abs(_pattern(faces[0]) - pattern).mean()))
    matrix = random_affine(size_px, rng, shift=0.02, scale=0.04, angle_deg=2.0)
    mismatch = _mismatch(rng) if rng.random() < 0.6 else []
    strength = rng.uniform(0.7, 1.0)  # of the match in colour
    swapped = []
    for frame, face in zip(crops, donor, strict=False):
        face = warp(_apply(mismatch, face), matrix).astype(np.float32)
        target, own = (image[inner].astype(np.float32) for image in (frame, face))
        spread = np.clip((target.std(0) + 1.0) / (own.std(0) + 1.0), 0.5, 2.0)
        matched = (face - own.mean(0)) * spread + target.mean(0)
        face += strength * (matched - face)
        swapped.append(to_uint8(mask * face + (1.0 - mask) * frame))
    return np.stack(swapped)


def _mismatch(rng: Generator) -> list[Change]:
    """What tells the pasted part from the rest: colour, sharpness, compression."""
    changes = [recolouring(rng)] if rng.random() < 0.8 else []
    kinds: tuple[Callable[[Generator], Change], ...] = (resampling, sharpening, blurring)
    changes.append(kinds[rng.choice(3, p=[0.45, 0.35, 0.2])](rng))
    return changes + ([jpeg(rng)] if rng.random() < 0.3 else [])


def _apply(changes: Sequence[Change], frame: np.ndarray) -> np.ndarray:
    for change in changes:
        frame = change(frame)
    return frame


def _pattern(face: np.ndarray) -> np.ndarray:
    """The light and dark of a face in (8, 8) parts, whatever its brightness and contrast."""
    small = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (8, 8), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small - small.mean()) / (small.std() + 1.0)


# Parts that forgeries replace: chance, height of the centre below the face box's, half width and half height,
# the lengths as shares of the box's side.
_FACE_PARTS = (
    (0.65, 0.0, 0.36, 0.46),  # the whole face: swaps
    (0.25, 0.24, 0.26, 0.20),  # the mouth: lip-sync
    (0.10, -0.14, 0.34, 0.14),  # the eyes
)


def _face_mask(
    size_px: int, face_share: float, rng: Generator, parts: Sequence[tuple[float, float, float, float]] = _FACE_PARTS
) -> np.ndarray:
    """Weights (S, S) float32 in 0..1 of one part of the face, with an elastic soft edge."""
    chances = np.array([chance for chance, *_ in parts])
    _, below, half_width, half_height = parts[rng.choice(len(parts), p=chances / chances.sum())]
    box_px = face_share * size_px
    centre = size_px / 2 + (np.array([0.0, below]) + rng.uniform(-0.05, 0.05, 2)) * box_px
    axes = np.array([half_width, half_height]) * rng.uniform(0.8, 1.2, 2) * box_px
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float32)
    bend = rng.normal(0, 0.05 * box_px, (5, 5, 2)).astype(np.float32)
    bend = cv2.resize(bend, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    x = (columns - centre[0] + bend[..., 0]) / axes[0]
    y = (rows - centre[1] + bend[..., 1]) / axes[1]
    inside = (x**2 + y**2 < 1.0).astype(np.float32)
    return cv2.GaussianBlur(inside, (0, 0), rng.uniform(0.01, 0.06) * box_px)
