"""Signed maps as pictures: red is evidence for fake, blue for real; one contact sheet, as a PNG of bounded size."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np

TOWARDS_FAKE = (214, 39, 40)  # RGB
TOWARDS_REAL = (31, 119, 180)
MAX_OPACITY = 0.6  # of the colour over a picture, so that the face below stays to be seen
MAX_TILES = 8
MAX_TILE_PX = 256  # side of one picture of the sheet
N_COLUMNS = 4
GAP_PX = 4  # of white between pictures
MAX_PNG_BYTES = 512 * 2**10


def overlay(crops: np.ndarray, maps: np.ndarray, full_scale: float) -> list[np.ndarray]:
    """Maps laid over the crops they belong to.

    Args:
        crops: (N, S, S, 3) uint8 RGB.
        maps: (N, h, w); cells between are interpolated.
        full_scale: the absolute value that gets the full colour.

    Returns:
        N pictures (S, S, 3) uint8 RGB.
    """
    pictures = []
    for crop, cells in zip(crops, maps, strict=True):
        strength = cv2.resize(cells.astype(np.float32), crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        pictures.append(_tinted(crop, strength, full_scale, MAX_OPACITY))
    return pictures


def paint(maps: np.ndarray, full_scale: float) -> list[np.ndarray]:
    """Maps (N, h, w) as pictures of their own, white where nothing speaks either way, row 0 at the bottom."""
    pictures = []
    for cells in maps[:, ::-1]:
        picture = _tinted(np.full((*cells.shape, 3), 255, np.uint8), cells, full_scale, 1.0)
        pictures.append(_enlarged(picture))
    return pictures


def contact_sheet(tiles: Sequence[np.ndarray]) -> dict:
    """Pictures of one size (h, w, 3), row by row, as a PNG of at most `MAX_PNG_BYTES`; smaller where it must be.

    Returns:
        `png_base64`, `width_px`, `height_px`, `columns`.
    """
    n_columns = min(N_COLUMNS, len(tiles))
    height, width = tiles[0].shape[:2]
    shrink = min(1.0, MAX_TILE_PX / max(height, width))
    while True:
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        sheet = _arranged([_shrunk(tile, size) for tile in tiles], n_columns)
        _, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        if len(png) <= MAX_PNG_BYTES or max(size) == 1:
            break
        shrink *= math.sqrt(0.9 * MAX_PNG_BYTES / len(png))
    return {
        "png_base64": base64.b64encode(png.tobytes()).decode(),
        "width_px": sheet.shape[1],
        "height_px": sheet.shape[0],
        "columns": n_columns,
    }


def _tinted(picture: np.ndarray, strength: np.ndarray, full_scale: float, opacity: float) -> np.ndarray:
    part = np.clip(strength / max(full_scale, 1e-12), -1.0, 1.0)[..., None]
    colour = np.where(part > 0, np.array(TOWARDS_FAKE, np.float32), np.array(TOWARDS_REAL, np.float32))
    weight = opacity * np.abs(part)
    return np.rint(picture * (1 - weight) + colour * weight).astype(np.uint8)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Whole pixels to a cell, so that its edges stay sharp."""
    factor = max(1, MAX_TILE_PX // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)


def _shrunk(tile: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return tile if size == tile.shape[1::-1] else cv2.resize(tile, size, interpolation=cv2.INTER_AREA)


def _arranged(tiles: Sequence[np.ndarray], n_columns: int) -> np.ndarray:
    height, width = tiles[0].shape[:2]
    n_rows = math.ceil(len(tiles) / n_columns)
    sheet_px = n_rows * (height + GAP_PX) - GAP_PX, n_columns * (width + GAP_PX) - GAP_PX
    sheet = np.full((*sheet_px, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // n_columns * (height + GAP_PX), index % n_columns * (width + GAP_PX)
        sheet[top : top + height, left : left + width] = tile
    return sheet
