"""Augmentation keeps shapes, ranges and its promise to be repeatable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.clips import tone
from training.augmentation.sound import augment_waveform, mask_features, mix_examples, mute

SEEDS = range(12)


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


def test_muting_leaves_gaps_of_digital_silence_and_most_of_the_sound():
    sound = tone(2.0) + 0.2
    for seed in SEEDS:
        muted = mute(sound, 16_000, np.random.default_rng(seed))
        assert 0.02 * 16_000 <= np.count_nonzero(muted == 0) <= 1.2 * 16_000
        np.testing.assert_array_equal(muted[muted != 0], sound[muted != 0])


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
