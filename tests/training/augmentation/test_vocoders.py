"""Copies keep the length, level, pitch and spectral envelope of speech, and lose its fine structure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from training.augmentation.vocoders import VOCODERS, pitch, vocode

RATE_HZ = 16_000


def vowel(f0_hz: float = 120.0, seconds: float = 1.0) -> np.ndarray:
    """Pulses through two resonances, and a little noise: what a vocoder takes speech for."""
    n_samples = round(seconds * RATE_HZ)
    pulses = np.diff(np.floor(np.arange(n_samples + 1) * f0_hz / RATE_HZ))
    sound = pulses + 0.01 * np.random.default_rng(0).standard_normal(n_samples)
    for formant_hz in (700, 1_800):
        pole = 0.97 * np.exp(2j * np.pi * formant_hz / RATE_HZ)
        sound = signal.lfilter([1.0], np.real(np.poly([pole, pole.conj()])), sound)
    return (0.1 * sound / np.abs(sound).max()).astype(np.float32)


def band_db(samples: np.ndarray) -> np.ndarray:
    """Levels of bands of 500 Hz."""
    power = signal.welch(samples, RATE_HZ, nperseg=1_024)[1][:512]
    return 10 * np.log10(power.reshape(16, 32).mean(axis=1) + 1e-12)


@pytest.mark.parametrize("name", VOCODERS)
def test_a_copy_sounds_like_its_original_and_is_not_it(name):
    original = vowel()
    copy = vocode(original, RATE_HZ, name, np.random.default_rng(1))
    assert copy.shape == original.shape
    assert copy.dtype == np.float32
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(original**2)), rel=1e-3)
    assert np.abs(band_db(copy) - band_db(original))[:6].mean() < 6  # to 3 kHz, where this vowel is loud
    assert np.sqrt(np.mean((copy - original) ** 2)) > 0.003 * np.sqrt(np.mean(original**2))


@pytest.mark.parametrize("name", VOCODERS)
def test_copies_follow_from_the_seed(name):
    first, again, other = (vocode(vowel(), RATE_HZ, name, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("name", VOCODERS)
@pytest.mark.parametrize("samples", [np.zeros(16_000), np.zeros(100), np.eye(1, 8_000)[0]])
def test_silence_snippets_and_clicks_come_out_finite(name, samples):
    copy = vocode(samples.astype(np.float32), RATE_HZ, name, np.random.default_rng(0))
    assert copy.shape == samples.shape
    assert np.isfinite(copy).all()


@pytest.mark.parametrize("f0_hz", [90.0, 150.0, 290.0])
def test_pitch_is_found(f0_hz):
    found_hz, voicing = pitch(vowel(f0_hz), RATE_HZ)
    assert voicing.mean() > 0.8
    assert np.median(found_hz) == pytest.approx(f0_hz, rel=0.03)


def test_noise_is_not_voiced():
    assert pitch(np.random.default_rng(0).standard_normal(16_000), RATE_HZ)[1].mean() < 0.2
