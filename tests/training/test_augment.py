"""Augmentation keeps shapes, ranges and its promise to be repeatable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.clips import tone
from training.augment import augment_crops, augment_waveform, mask_features, mix_examples, self_blend

SEEDS = range(12)


@pytest.fixture
def crops() -> np.ndarray:
    ramp = np.linspace(20, 235, 64).astype(np.uint8)
    frame = np.stack([np.add.outer(ramp // 2, ramp // 2), np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64))], -1)
    return np.stack([frame, frame[::-1], frame])


def change(crops: np.ndarray, seed: int, augment) -> np.ndarray:
    before = crops.copy()
    changed = augment(crops, np.random.default_rng(seed))
    np.testing.assert_array_equal(crops, before)  # the cache is not written to
    assert changed.shape == crops.shape
    assert changed.dtype == np.uint8
    return changed


def blend(crops: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return self_blend(crops, 0.6, rng)


@pytest.mark.parametrize("augment", [augment_crops, blend])
def test_crops_keep_their_form_and_follow_from_the_seed(crops, augment):
    outcomes = [change(crops, seed, augment) for seed in SEEDS]
    again = change(crops, SEEDS[0], augment)
    np.testing.assert_array_equal(outcomes[0], again)
    assert len({outcome.tobytes() for outcome in outcomes}) == len(SEEDS)


def test_all_frames_of_a_clip_are_blended_alike(crops):
    for seed in SEEDS:
        first, _, third = change(crops, seed, blend)
        np.testing.assert_array_equal(first, third)


def test_a_pseudo_fake_mixes_two_versions_of_its_face(crops):
    """Some of the picture is left untouched and some is changed: the face or what surrounds it."""
    for seed in SEEDS:
        same = (change(crops, seed, blend)[0] == crops[0]).all(-1)
        corner, centre = same[:4, :4].mean(), same[24:40, 24:40].mean()
        assert not same.all()
        assert corner == 1 or corner < 0.5 or centre > corner


def test_waveforms_stay_finite_audible_and_repeatable():
    sound = tone(1.5) + 0.01 * np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    for seed in SEEDS:
        augmented = augment_waveform(sound, 16_000, np.random.default_rng(seed))
        assert augmented.dtype == np.float32
        assert augmented.ndim == 1
        assert 16_000 <= len(augmented) <= len(sound) + 4_000
        assert np.isfinite(augmented).all()
        assert augmented.std() > 1e-3
        np.testing.assert_array_equal(augmented, augment_waveform(sound, 16_000, np.random.default_rng(seed)))


@pytest.mark.parametrize("n_samples", [1, 100, 4_000])
def test_short_waveforms_survive(n_samples):
    for seed in SEEDS:
        augmented = augment_waveform(tone(1.0)[:n_samples] + 0.1, 16_000, np.random.default_rng(seed))
        assert len(augmented) > 0
        assert np.isfinite(augmented).all()


def test_masks_leave_most_of_the_features():
    for seed in SEEDS:
        masked = mask_features(torch.ones(100, 120), np.random.default_rng(seed), n_stacked=3)
        assert set(masked.unique().tolist()) <= {0.0, 1.0}
        assert masked.mean() > 0.5


def test_a_masked_band_is_masked_in_its_derivatives_too():
    masked = mask_features(torch.ones(100, 120), np.random.default_rng(1), n_stacked=3)
    bands = masked.max(dim=0).values.view(3, 40)
    assert (bands == 0).any()
    assert torch.equal(bands[0], bands[1])
    assert torch.equal(bands[0], bands[2])


def test_mixed_examples_carry_the_shares_of_their_labels():
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    inputs = labels.float().view(-1, 1, 1).expand(-1, 4, 3).clone()
    for seed in SEEDS:
        mixed, shares = mix_examples(inputs, labels, np.random.default_rng(seed))
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
        torch.testing.assert_close(mixed[:, 0, 0], shares[:, 1])
