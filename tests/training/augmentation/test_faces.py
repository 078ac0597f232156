"""Faces keep their shape and range when they are degraded or forged, and the same seed gives the same."""

from __future__ import annotations

import numpy as np
import pytest

from training.augmentation.faces import augment_crops
from training.augmentation.pseudo_fakes import self_blend, swap_faces
from training.augmentation.video_codec import transcode_h264

SEEDS = range(12)
SIZE_PX = 64


@pytest.fixture
def crops() -> np.ndarray:
    ramp = np.linspace(20, 235, SIZE_PX).astype(np.uint8)
    rows, columns = np.tile(ramp[:, None], (1, SIZE_PX)), np.tile(ramp, (SIZE_PX, 1))
    frame = np.stack([np.add.outer(ramp // 2, ramp // 2), columns, rows], -1)
    return np.stack([frame, frame[::-1], frame])


def change(crops: np.ndarray, seed: int, augment) -> np.ndarray:
    before = crops.copy()
    changed = augment(crops, np.random.default_rng(seed))
    np.testing.assert_array_equal(crops, before)  # the cache is not written to
    assert changed.shape == crops.shape
    assert changed.dtype == np.uint8
    return changed


def recode(crops: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return augment_crops(crops, rng, h264_share=1.0)


def blend(crops: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return self_blend(crops, 0.6, rng)


def swap(crops: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    checks = np.indices((SIZE_PX, SIZE_PX)).sum(0) // 4 % 2 * 200
    donor = np.repeat(checks.astype(np.uint8)[None, :, :, None], 3, axis=-1)
    return swap_faces(crops, [np.repeat(donor, 4, axis=0)], 0.6, rng)


@pytest.mark.parametrize("augment", [augment_crops, recode, blend, swap])
def test_crops_keep_their_form_and_follow_from_the_seed(crops, augment):
    outcomes = [change(crops, seed, augment) for seed in SEEDS]
    again = change(crops, SEEDS[0], augment)
    np.testing.assert_array_equal(outcomes[0], again)
    assert len({outcome.tobytes() for outcome in outcomes}) == len(SEEDS)


@pytest.mark.parametrize("forge", [blend, swap])
def test_all_frames_of_a_clip_are_forged_alike(crops, forge):
    for seed in SEEDS:
        first, _, third = change(crops, seed, forge)
        np.testing.assert_array_equal(first, third)


def test_a_pseudo_fake_mixes_two_versions_of_its_face(crops):
    """Some of the picture is left untouched and some is changed: the face or what surrounds it."""
    for seed in SEEDS:
        same = (change(crops, seed, blend)[0] == crops[0]).all(-1)
        corner, centre = same[:4, :4].mean(), same[24:40, 24:40].mean()
        assert not same.all()
        assert corner == 1 or corner < 0.5 or centre > corner


def test_a_swapped_face_is_the_other_one_in_the_colours_of_the_first(crops):
    for seed in SEEDS:
        swapped = change(crops, seed, swap)[0].astype(float)
        np.testing.assert_array_equal(swapped[:4], crops[0][:4])  # what is not the face stays
        face, before = swapped[24:40, 24:40], crops[0][24:40, 24:40].astype(float)
        assert np.abs(face - before).mean() > 5
        assert np.abs(face.mean((0, 1)) - before.mean((0, 1))).max() < 25


def test_of_the_donors_the_most_alike_lends_its_face(crops):
    """Its own picture is nearest to it: with nothing to warp or match, the face comes out nearly as it was."""
    inverted, alike = 255 - crops, crops + 3
    for seed in SEEDS:
        both = swap_faces(crops, [inverted, alike], 0.6, np.random.default_rng(seed))
        np.testing.assert_array_equal(both, swap_faces(crops, [alike], 0.6, np.random.default_rng(seed)))


def test_h264_loses_more_at_a_higher_rate_factor(crops):
    losses = []
    for crf in (10, 30, 50):
        decoded = transcode_h264(crops, crf)
        assert [frame.shape for frame in decoded] == [(SIZE_PX, SIZE_PX, 3)] * len(crops)
        losses.append(np.abs(np.stack(decoded).astype(float) - crops).mean())
    assert losses[0] < losses[1] < losses[2] < 40
    assert losses[0] < 6
