"""Random degradation of training sound, the same for both classes; `training.augmentation.faces` does it to faces.

What betrays a forgery in one collection (its compression, loudness, bandwidth)
is seldom what betrays the next, so all of it is shuffled. Labels are never read
here. Every function takes its own random generator: the same seed
gives the same clip, however many workers there are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from scipy import signal

from training.augmentation.audio_codecs import CODECS, transcode

MIN_CODED_S = 0.2  # of less sound some encoders make no file that can be read


def augment_waveform(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Crop, filter, transcode and pollute a waveform.

    Args:
        samples: (N,) float32 mono.
        rate_hz: its sample rate.
        rng: source of every random choice.

    Returns:
        (M,) float32 mono at the same rate, M <= N plus what a codec adds; never empty, always finite.
    """
    samples = _random_part(samples, rate_hz, rng)
    for chance, change in _SOUND_CHANGES:
        if rng.random() < chance:
            samples = change(samples, rate_hz, rng)
    return np.nan_to_num(samples).astype(np.float32)


def _random_part(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    length = int(len(samples) * rng.uniform(0.5, 1.0)) if rng.random() < 0.6 else len(samples)
    length = min(len(samples), max(length, rate_hz))
    start = int(rng.integers(len(samples) - length + 1))
    return samples[start : start + length]


def _equalize(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """A smooth random gain curve of up to 9 dB at six frequencies, linear phase."""
    frequencies_hz = np.linspace(0, rate_hz / 2, 6)
    gains = 10 ** (rng.uniform(-9, 9, 6) / 20)
    return signal.fftconvolve(samples, signal.firwin2(255, frequencies_hz, gains, fs=rate_hz), mode="same")


def _band_limit(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Telephone to studio: a low-pass, a high-pass, or both."""
    low_hz = float(np.exp(rng.uniform(np.log(40), np.log(400)))) if rng.random() < 0.5 else None
    high_hz = float(rng.uniform(0.35, 0.98) * rate_hz / 2) if low_hz is None or rng.random() < 0.7 else None
    if low_hz and high_hz:
        sections = signal.butter(4, [low_hz, high_hz], "bandpass", fs=rate_hz, output="sos")
    else:
        sections = signal.butter(4, low_hz or high_hz, "highpass" if low_hz else "lowpass", fs=rate_hz, output="sos")
    return signal.sosfilt(sections, samples)


def _lossy(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    codec = CODECS[rng.integers(len(CODECS))]
    return transcode(samples, rate_hz, codec) if len(samples) >= MIN_CODED_S * rate_hz else samples


def _reverberate(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Exponentially decaying noise after the direct sound (Schroeder's model of a diffuse field)."""
    decay_s = rng.uniform(0.05, 0.5)
    times_s = np.arange(int(decay_s * rate_hz)) / rate_hz
    tail = rng.standard_normal(len(times_s)) * np.exp(-6.9 * times_s / decay_s)  # -60 dB after decay_s
    impulse = np.concatenate([[1.0], rng.uniform(0.05, 0.4) * tail / (np.linalg.norm(tail) + 1e-9)])
    return signal.fftconvolve(samples, impulse)[: len(samples)]


def _pollute(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Coloured noise, white to brown, 8 to 45 dB below the signal."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum *= np.maximum(np.fft.rfftfreq(len(samples), 1 / rate_hz), 20.0) ** -rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, len(samples))
    level = np.sqrt(np.mean(np.square(samples)) / (np.mean(np.square(noise)) + 1e-20))
    return samples + noise * level * 10 ** (-rng.uniform(8, 45) / 20)


def _resample_rate(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Down to a lower rate and back: the steep edge that files of another sample rate show."""
    low = int(rng.choice([12, 16, 20, 22, 24, 28]))  # thirty-seconds of the rate: 6 to 14 kHz of 16
    return signal.resample_poly(signal.resample_poly(samples, low, 32), 32, low)[: len(samples)]


def _distort(samples: np.ndarray, _rate_hz: int, rng: Generator) -> np.ndarray:
    """Soft clipping, some odd and even harmonics: a cheap microphone, an eager limiter."""
    peak = np.abs(samples).max() + 1e-9
    driven = samples / peak * rng.uniform(1.0, 4.0) + rng.uniform(-0.1, 0.1)
    return (np.tanh(driven) - np.tanh(driven.mean())) * peak


def _convolve(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Notches, and others upon the second to fifth power of the signal, 5 to 20 dB below it.

    This, `_impulses` and `_pollute` are the three kinds of noise of H. Tak et al., "RawBoost" (ICASSP 2022).
    """
    peak = np.abs(samples).max() + 1e-9
    convolved = np.zeros(len(samples))
    for power in range(1, 6):
        gain = 1.0 if power == 1 else 10 ** (-rng.uniform(5, 20) / 20)
        convolved += gain * peak * signal.fftconvolve((samples / peak) ** power, _notches(rate_hz, rng), mode="same")
    return convolved - convolved.mean()


def _notches(rate_hz: int, rng: Generator) -> np.ndarray:
    """A linear-phase filter with one to five notches 100 to 1,000 Hz wide."""
    frequencies_hz = np.linspace(0, rate_hz / 2, 129)
    gains = np.ones(len(frequencies_hz))
    for _ in range(int(rng.integers(1, 6))):
        centre_hz, width_hz = rng.uniform(20, rate_hz / 2), rng.uniform(100, 1_000)
        gains[np.abs(frequencies_hz - centre_hz) < width_hz / 2] = 0.0
    return signal.firwin2(255, frequencies_hz, gains, fs=rate_hz)


def _impulses(samples: np.ndarray, _rate_hz: int, rng: Generator) -> np.ndarray:
    """Up to a tenth of the samples changed by up to twice what they are: clicks, lost bits."""
    hit = rng.random(len(samples)) < rng.uniform(0.0, 0.1)
    return samples + hit * samples * rng.uniform(0.0, 2.0) * rng.uniform(-1.0, 1.0, len(samples))


def mute(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """One to three gaps of zeros of 20 to 400 ms: a mute button, a gate, discontinuous transmission, lost packets.

    Where windows are laid zeros are cut out again (`digital_silence`): what is learned is that sound may be missing.
    """
    samples = samples.copy()
    for _ in range(int(rng.integers(1, 4))):
        length = int(min(rng.uniform(0.02, 0.4) * rate_hz, len(samples) / 4))
        start = int(rng.integers(len(samples) - length + 1))
        samples[start : start + length] = 0.0
    return samples


# In this order: a room and its noise, the microphone, then what files go through. Chances are of each by itself.
_SOUND_CHANGES = (
    (0.25, _reverberate),
    (0.5, _pollute),
    (0.15, _distort),
    (0.1, _convolve),
    (0.1, _impulses),
    (0.6, _equalize),
    (0.25, _band_limit),
    (0.5, _resample_rate),
    (0.45, _lossy),
    (0.1, _pollute),
    (0.2, mute),
)


def mask_features(features: torch.Tensor, rng: Generator, n_stacked: int = 1) -> torch.Tensor:
    """Zero up to two spans of time and one or two of bands, which is their mean after normalisation.

    After Park et al., "SpecAugment" (Interspeech 2019).

    Args:
        features: (n_steps, n_features) float32, changed in place.
        rng: source of every random choice.
        n_stacked: how often each band comes: 3 where its two derivatives follow, as in MFCC with deltas.
    """
    n_steps, n_features = features.shape
    for _ in range(2):
        width = int(rng.integers(n_steps // 8 + 1))
        start = int(rng.integers(n_steps - width + 1))
        features[start : start + width] = 0
    n_bands = n_features // n_stacked
    for _ in range(2):
        width = int(rng.integers(n_bands // 6 + 1))
        start = int(rng.integers(n_bands - width + 1))
        for first in range(start, n_features, n_bands):  # the band and its derivatives
            features[:, first : first + width] = 0
    return features


def mix_examples(inputs: torch.Tensor, labels: torch.Tensor, rng: Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Each example blended with another of its batch, and their labels in the same shares.

    H. Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018), with one share a batch.

    Args:
        inputs: (B, ...) float32.
        labels: (B,) int64.
        rng: source of every random choice.

    Returns:
        inputs (B, ...) and shares of the classes (B, 2) float32.
    """
    share = float(rng.beta(0.5, 0.5))
    partner = torch.from_numpy(rng.permutation(len(labels)))
    classes = torch.nn.functional.one_hot(labels, 2).float()
    return (share * inputs + (1 - share) * inputs[partner], share * classes + (1 - share) * classes[partner])
