"""What a player shows of a stored frame: turned, mirrored, of square pixels, SDR."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from model_defs.decoding.media import Media
from model_defs.decoding.picture import UPRIGHT, Orientation, orientation_of_matrix, shown_size
from tests.clips import read_time_s, time_image, write_clip

MATRICES = [(1, 0, 0, 1), (-1, 0, 0, -1), (0, 1, -1, 0), (0, -1, 1, 0)]  # turns
MATRICES += [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]  # the same, mirrored


def stored(shown: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """The frame that a display matrix shows as `shown`, a pixel at a time: (p, q) goes to (a p + c q, b p + d q)."""
    a, b, c, d = matrix
    height, width = shown.shape[:2]
    columns, rows = (width, height) if a else (height, width)
    q, p = np.mgrid[:rows, :columns]
    x, y = a * p + c * q, b * p + d * q
    return shown[y - y.min(), x - x.min()]


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_all_eight_orientations_are_shown_as_a_player_shows_them(container: str, matrix: tuple[int, int, int, int]):
    times_s = [index / 25 for index in range(25)]
    images = [stored(time_image(time_s, 96, 64), matrix) for time_s in times_s]
    size = images[0].shape[1], images[0].shape[0]
    with Media(write_clip(container, images=images, size=size, display_matrix=matrix)) as media:
        frames = media.frames(n_frames=4)
        assert media.video.orientation.is_mirrored == (matrix in MATRICES[4:])
    for frame in frames:
        assert frame.image.shape == (64, 96, 3)
        assert read_time_s(frame.image) == pytest.approx(frame.time_s, abs=1e-6)  # mirrored cells tell other times


def test_a_matrix_that_shows_nothing_is_left_alone():
    assert orientation_of_matrix((0,) * 9) == UPRIGHT
    one = 1 << 16
    assert orientation_of_matrix((one, 900, 0, -900, one, 0, 0, 0, 1 << 30)) == UPRIGHT  # a degree off
    assert orientation_of_matrix((0, -one, 0, -one, 0, 0, 0, 0, 1 << 30)) != Orientation(90)


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize(("stored_size", "aspect"), [((48, 64), Fraction(2)), ((96, 32), Fraction(1, 2))])
def test_pixels_are_square_before_faces_are_sought(container: str, stored_size: tuple[int, int], aspect: Fraction):
    times_s = [index / 25 for index in range(25)]
    images = [time_image(time_s, *stored_size) for time_s in times_s]
    with Media(write_clip(container, images=images, size=stored_size, pixel_aspect=aspect)) as media:
        (frame,) = media.frames(n_frames=1)
    assert frame.image.shape == (64, 96, 3)
    assert read_time_s(frame.image) == pytest.approx(frame.time_s, abs=1e-6)


def test_shown_sizes():
    assert shown_size(720, 576, None) == (720, 576)
    assert shown_size(720, 576, Fraction(64, 45)) == (1024, 576)
    assert shown_size(3840, 2160, Fraction(1)) == (1920, 1080)
    assert shown_size(1920, 1080, Fraction(1, 2)) == (1707, 1920)
    assert shown_size(640, 480, Fraction(4000, 1)) == (640, 480)  # damage
