"""A crop is turned, scaled and shifted to where the face is, to the pixel, and never stretched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from model_defs.preprocessing.face_crop import crop_face
from model_defs.preprocessing.face_tracking import NO_FACE, TrackedFace
from model_defs.spec import VideoSpec

SPEC = VideoSpec(size_px=64, face_margin=0.0)
RED, GREEN = (255, 0, 0), (0, 255, 0)


def tracked(box: tuple[float, ...], eyes: tuple | None = None) -> TrackedFace:
    return TrackedFace(box, eyes, "detected")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def centre_of(mask: np.ndarray) -> np.ndarray:
    """x, y of the middle of the marked pixels."""
    assert mask.any()
    return np.argwhere(mask).mean(0)[::-1] + 0.5


def test_a_box_of_the_crops_own_size_is_copied_to_the_pixel() -> None:
    image = noise(100, 120)
    crop = crop_face(image, tracked((30, 20, 94, 84)), SPEC)
    assert crop.dtype == np.uint8
    np.testing.assert_array_equal(crop, image[20:84, 30:94])


def test_the_margin_is_added_on_each_side() -> None:
    image = noise(100, 120)
    spec = VideoSpec(size_px=64, face_margin=0.5)
    np.testing.assert_array_equal(crop_face(image, tracked((46, 36, 78, 68)), spec), image[20:84, 30:94])


def test_a_tall_box_gives_a_square_of_its_height() -> None:
    image = noise(100, 120)
    np.testing.assert_array_equal(crop_face(image, tracked((52, 20, 72, 84)), SPEC), image[20:84, 30:94])


@pytest.mark.parametrize("roll_deg", [-30.0, -10.0, 0.0, 25.0])
def test_eyes_come_out_level_at_their_true_distance(roll_deg: float) -> None:
    centre, half = np.array([160.0, 120.0]), 20.0
    along = half * np.array([np.cos(np.deg2rad(roll_deg)), np.sin(np.deg2rad(roll_deg))])
    image = np.zeros((240, 320, 3), np.uint8)
    for point, colour in ((centre - along, RED), (centre + along, GREEN)):
        cv2.circle(image, tuple(int(value) for value in point.round()), 4, colour, -1)
    eyes = tuple(centre - along), tuple(centre + along)
    crop = crop_face(image, tracked((128, 88, 192, 152), eyes), SPEC)
    left, right = centre_of(crop[..., 0] > 127), centre_of(crop[..., 1] > 127)
    assert right - left == pytest.approx([2 * half, 0], abs=1.5)
    assert (left + right) / 2 == pytest.approx([32, 32], abs=1.5)


def test_eyes_are_ignored_when_the_spec_says_so() -> None:
    image = noise(100, 120)
    spec = VideoSpec(size_px=64, face_margin=0.0, align_eyes=False)
    crop = crop_face(image, tracked((30, 20, 94, 84), ((50, 40), (70, 50))), spec)
    np.testing.assert_array_equal(crop, image[20:84, 30:94])


@pytest.mark.parametrize("eyes", [((60, 40), (64, 46)), ((60, 30), (66, 60))], ids=["a profile's", "on end"])
def test_implausible_eyes_turn_nothing(eyes: tuple) -> None:
    image = noise(100, 120)
    np.testing.assert_array_equal(crop_face(image, tracked((30, 20, 94, 84), eyes), SPEC), image[20:84, 30:94])


def test_without_a_face_the_largest_centred_square_is_taken() -> None:
    image = noise(64, 100)
    np.testing.assert_array_equal(crop_face(image, NO_FACE, SPEC), image[:, 18:82])
    np.testing.assert_array_equal(
        crop_face(np.ascontiguousarray(image.swapaxes(0, 1)), NO_FACE, SPEC).swapaxes(0, 1), image[:, 18:82]
    )


def test_shrinking_averages_rather_than_picks_points() -> None:
    image = noise(512, 512)  # its spread falls to an eighth when 8 x 8 pixels are averaged, to a half at points
    crop = crop_face(image, NO_FACE, SPEC)
    assert crop.mean() == pytest.approx(image.mean(), abs=1)
    assert crop.std() < image.std() / 6


def test_enlarging_keeps_the_picture_in_place() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 255
    crop = crop_face(image, NO_FACE, SPEC)
    assert centre_of(crop[..., 0] > 127) == pytest.approx([48, 32], abs=0.6)


def test_a_face_at_the_edge_has_no_black_border() -> None:
    image = np.full((100, 120, 3), 200, np.uint8)
    crop = crop_face(image, tracked((-20, -30, 60, 50), ((0, 0), (40, 10))), VideoSpec(size_px=64))
    assert crop.shape == (64, 64, 3)
    assert crop.min() == 200


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2)])
def test_a_frame_of_any_shape_gives_a_crop(shape: tuple[int, int]) -> None:
    assert crop_face(np.full((*shape, 3), 9, np.uint8), NO_FACE, SPEC).shape == (64, 64, 3)
