"""The torch front end and librosa must stay one and the same extractor."""

from __future__ import annotations

import subprocess
import sys

import librosa
import numpy as np
import pytest
import scipy.fft
import torch

from model_defs.preprocessing.audio_features import (
    DELTA_WIDTH,
    STD_FLOOR,
    MfccFrontend,
    create_frontend,
    dct_table,
    librosa_features,
    linear_filters,
    slaney_mel_filters,
)
from model_defs.spec import AudioSpec

SPEC = AudioSpec()
TOLERANCE = 1e-3


def voice(n_samples: int = SPEC.n_samples, rate_hz: int = SPEC.rate_hz) -> np.ndarray:
    """Something like speech: harmonics of a gliding pitch in syllables, with a little breath."""
    time_s = np.arange(n_samples) / rate_hz
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 1.3 * time_s)) / rate_hz
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time_s), 0, 1)
    breath = np.random.default_rng(0).normal(0, 0.002, n_samples)
    return (0.2 * harmonics * syllables + breath).astype(np.float32)


def silence_padded() -> np.ndarray:
    window = voice()
    window[SPEC.n_samples // 3 :] = 0
    return window


def tone() -> np.ndarray:
    return (0.9 * np.sin(2 * np.pi * 440 * np.arange(SPEC.n_samples) / SPEC.rate_hz)).astype(np.float32)


def noise() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, SPEC.n_samples).astype(np.float32)


WINDOWS = {
    "voice": voice,
    "silence_padded": silence_padded,
    "loud": lambda: np.clip(20 * voice(), -1, 1),
    "quiet": lambda: 1e-3 * voice(),
    "noise": noise,
    "tone": tone,
    "silence": lambda: np.zeros(SPEC.n_samples, np.float32),
}


@pytest.mark.parametrize("normalise", [False, True], ids=["raw", "normalised"])
@pytest.mark.parametrize("name", WINDOWS)
def test_equals_librosa(name: str, normalise: bool) -> None:
    window = WINDOWS[name]()
    expected = librosa_features(window, SPEC, normalise=normalise)
    found = MfccFrontend(SPEC, normalise=normalise)(torch.from_numpy(window[np.newaxis]))[0].numpy()
    assert found.shape == expected.shape == (SPEC.n_steps, SPEC.n_features)
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_reference_is_librosa_mfcc_with_its_deltas() -> None:
    window = voice()
    mfcc = librosa.feature.mfcc(
        y=window, sr=16_000, n_mfcc=40, n_fft=1_024, hop_length=256, n_mels=80, pad_mode="constant"
    )
    features = librosa_features(window, SPEC, normalise=False)
    np.testing.assert_allclose(features[:, :40].T, mfcc, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(features[:, 40:80].T, librosa.feature.delta(mfcc), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(features[:, 80:].T, librosa.feature.delta(mfcc, order=2), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "spec",
    [
        AudioSpec(rate_hz=8_000, n_fft=512, hop_length=128, n_mels=40, n_mfcc=20, window_s=1.0),
        AudioSpec(hop_length=160, window_s=2.0003),
        AudioSpec(window_s=DELTA_WIDTH * 256 / 16_000),
    ],
    ids=["8kHz", "odd_length", "shortest"],
)
def test_equals_librosa_for_other_specs(spec: AudioSpec) -> None:
    window = voice(spec.n_samples, spec.rate_hz)
    found = MfccFrontend(spec)(torch.from_numpy(window[np.newaxis]))[0].numpy()
    assert found.shape == (spec.n_steps, spec.n_features)
    np.testing.assert_allclose(found, librosa_features(window, spec), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("rate_hz", "n_fft", "n_mels"), [(16_000, 1_024, 80), (44_100, 2_048, 128), (1_600, 512, 10)])
def test_mel_filters_equal_librosa(rate_hz: int, n_fft: int, n_mels: int) -> None:
    expected = librosa.filters.mel(sr=rate_hz, n_fft=n_fft, n_mels=n_mels, dtype=np.float64)
    found = slaney_mel_filters(AudioSpec(rate_hz=rate_hz, n_fft=n_fft, n_mels=n_mels))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_dct_equals_scipy() -> None:
    expected = scipy.fft.dct(np.eye(SPEC.n_mels), type=2, norm="ortho", axis=0)[: SPEC.n_mfcc]
    np.testing.assert_allclose(dct_table(SPEC), expected, rtol=0, atol=1e-12)


def test_deltas_are_derivatives() -> None:
    """A parabola a + b t + c t^2 has the second derivative 2 c everywhere, and b + 2 c t inside."""
    t = torch.arange(40, dtype=torch.float64)
    slope, curvature = MfccFrontend(SPEC).deltas((3 + 0.5 * t + 0.1 * t**2).view(1, -1, 1))[0].T
    torch.testing.assert_close(curvature, torch.full_like(t, 0.2))
    torch.testing.assert_close(slope[4:-4], (0.5 + 0.2 * t)[4:-4])


def test_scripted_gives_the_same_bits() -> None:
    windows = torch.from_numpy(np.stack([make() for make in WINDOWS.values()]))
    frontend = MfccFrontend(SPEC).eval()
    scripted = torch.jit.script(frontend)
    assert torch.equal(scripted(windows), frontend(windows))
    assert torch.equal(torch.jit.freeze(scripted)(windows), frontend(windows))


def test_a_window_does_not_depend_on_its_neighbours() -> None:
    windows = torch.from_numpy(np.stack([make() for make in WINDOWS.values()]))
    frontend = MfccFrontend(SPEC)
    for index in range(len(windows)):
        torch.testing.assert_close(frontend(windows)[index], frontend(windows[index : index + 1])[0], rtol=0, atol=1e-4)


def test_normalised_over_time_and_blind_to_loudness() -> None:
    frontend = MfccFrontend(SPEC)
    window = torch.from_numpy(voice()[np.newaxis])
    features = frontend(window)[0]
    assert features.mean(0).abs().max() < 1e-5
    torch.testing.assert_close(features.std(0, correction=0), torch.ones(SPEC.n_features), rtol=0, atol=1e-4)
    torch.testing.assert_close(frontend(0.1 * window)[0], features, rtol=0, atol=TOLERANCE)


def test_steady_sound_is_not_blown_up() -> None:
    raw = MfccFrontend(SPEC, normalise=False)(torch.from_numpy(tone()[np.newaxis]))[0]
    normalised = MfccFrontend(SPEC)(torch.from_numpy(tone()[np.newaxis]))[0]
    steady = raw.std(0, correction=0) < STD_FLOOR
    assert steady.any(), "a pure tone should have features that hardly move"
    assert (normalised.std(0, correction=0)[steady] < 1).all()


def test_tables_are_no_part_of_the_weights() -> None:
    assert MfccFrontend(SPEC).state_dict() == {}


def test_serving_does_not_import_librosa() -> None:
    program = (
        "import sys, torch; from model_defs.preprocessing.audio_features import MfccFrontend;"
        "from model_defs.spec import AudioSpec;"
        "MfccFrontend(AudioSpec())(torch.zeros(1, 64000)); sys.exit('librosa' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


BANDS = AudioSpec(features="linear_bands", n_fft=512, hop_length=160)


def test_a_spec_gets_the_front_end_that_it_names() -> None:
    windows = torch.from_numpy(np.stack([make() for make in WINDOWS.values()]))
    for spec in (SPEC, BANDS):
        frontend = create_frontend(spec)
        assert not frontend.training
        assert frontend.state_dict() == {}
        assert frontend(windows).shape == (len(windows), spec.n_steps, spec.n_features)


def test_linear_filters_share_out_every_frequency_alike() -> None:
    filters = linear_filters(BANDS)
    assert filters.shape == (80, 257)
    np.testing.assert_allclose(filters.sum(axis=1), 1)
    centres = filters @ np.arange(257)
    np.testing.assert_allclose(np.diff(centres), 256 / 81, atol=0.2)


@pytest.mark.parametrize("frequency_hz", [500, 3_000, 7_500])
def test_a_tone_that_comes_and_goes_moves_its_own_band(frequency_hz: int) -> None:
    time_s = np.arange(BANDS.n_samples) / BANDS.rate_hz
    sound = np.sin(2 * np.pi * frequency_hz * time_s) * (time_s % 1 < 0.5)
    sound += 1e-3 * np.random.default_rng(0).standard_normal(len(sound))
    features = create_frontend(BANDS)(torch.from_numpy(sound.astype(np.float32)[np.newaxis]))[0]
    assert abs(int(features.std(0).argmax()) - round(frequency_hz / 8_000 * 81) + 1) <= 1


def test_bands_are_blind_to_loudness() -> None:
    frontend = create_frontend(BANDS)
    window = voice()
    features = frontend(torch.from_numpy(window[np.newaxis]))[0]
    assert features.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(frontend(torch.from_numpy(0.1 * window[np.newaxis]))[0], features, rtol=0, atol=1e-3)
    scripted = torch.jit.freeze(torch.jit.script(frontend))
    assert torch.equal(scripted(torch.from_numpy(window[np.newaxis]))[0], features)
