"""Pictures of signed maps: the colours mean what they say, and no sheet outgrows its bound."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from model_defs.explanation.heatmap import (
    GAP_PX,
    MAX_PNG_BYTES,
    MAX_TILE_PX,
    TOWARDS_FAKE,
    TOWARDS_REAL,
    contact_sheet,
    overlay,
    paint,
)


def decoded(sheet: dict) -> np.ndarray:
    """The picture (h, w, 3) RGB of a contact sheet."""
    png = base64.b64decode(sheet["png_base64"], validate=True)
    assert len(png) <= MAX_PNG_BYTES
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert picture.shape[:2] == (sheet["height_px"], sheet["width_px"])
    return picture


def test_red_speaks_for_fake_blue_for_real_and_nothing_leaves_the_crop():
    crop = np.full((1, 33, 33, 3), 128, np.uint8)
    (picture,) = overlay(crop, np.array([[[1.0, 0, -1.0]] * 3]), 1.0)
    left, middle, right = (picture[16, x].astype(int) for x in (0, 16, 32))
    assert left[0] > 128 > left[2]
    assert (middle == 128).all()
    assert right[2] > 128 > right[0]


def test_a_map_that_says_nothing_is_drawn_without_a_warning():
    (picture,) = overlay(np.full((1, 8, 8, 3), 9, np.uint8), np.zeros((1, 2, 2)), 0.0)
    assert (picture == 9).all()


def test_painted_rows_count_from_the_bottom():
    cells = np.zeros((1, 3, 4))
    cells[0, 0, 0], cells[0, 2, 3] = 5.0, -5.0
    (picture,) = paint(cells, 5.0)
    assert tuple(picture[-1, 0]) == TOWARDS_FAKE
    assert tuple(picture[0, -1]) == TOWARDS_REAL
    assert tuple(picture[picture.shape[0] // 2, 0]) == (255, 255, 255)


@pytest.mark.parametrize(("n_tiles", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (4, 4, 1), (5, 4, 2), (8, 4, 2)])
def test_tiles_lie_row_by_row(n_tiles, columns, rows):
    tiles = [np.full((20, 30, 3), 20 * index, np.uint8) for index in range(n_tiles)]
    sheet = contact_sheet(tiles)
    picture = decoded(sheet)
    assert sheet["columns"] == columns
    assert picture.shape == (rows * (20 + GAP_PX) - GAP_PX, columns * (30 + GAP_PX) - GAP_PX, 3)
    for index in range(n_tiles):
        assert (
            picture[index // columns * (20 + GAP_PX) + 10, index % columns * (30 + GAP_PX) + 15] == 20 * index
        ).all()


def test_a_sheet_of_noise_shrinks_until_it_fits():
    noise = np.random.default_rng(0).integers(0, 256, (8, MAX_TILE_PX * 2, MAX_TILE_PX * 2, 3), np.uint8)
    sheet = contact_sheet(list(noise))
    assert decoded(sheet).shape[1] < 4 * MAX_TILE_PX
