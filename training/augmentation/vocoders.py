"""Copy synthesis: real speech taken apart and put together again, as the vocoders of generators do.

    copy = VOCODERS["harmonic"](samples, 16_000, rng)

What a vocoder leaves is then all that tells the copy from its original: the words, the voice, the microphone, the room
and the level are the same. X. Wang and J. Yamagishi, "Spoofed Training Data for Speech Spoofing Countermeasure Can Be
Efficiently Created Using Neural Vocoders" (ICASSP 2023), do it with trained vocoders; these need no training, and each
loses one of the things that trained ones lose: fine structure between the bands of a mel spectrogram, the phase, the
noise between the harmonics, the course of the envelope.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy import linalg, signal

FRAME_S, HOP_S = 0.032, 0.008
F0_RANGE_HZ = (65.0, 400.0)
VOICED_CORRELATION = 0.45  # of a frame with itself one period later
POWER_FLOOR = 1e-14


def mel_smoothed(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """The spectrogram by way of 40 to 100 mel bands, its phase kept or blurred towards the top."""
    spectrum = _stft(samples, rate_hz)
    magnitude = _through_mel(np.abs(spectrum), rate_hz, rng)
    blurred = rng.uniform(0.0, 1.5) * (np.linspace(0, 1, len(spectrum)) ** rng.uniform(0.5, 2.0))[:, np.newaxis]
    phase = np.angle(spectrum) + blurred * rng.standard_normal(spectrum.shape)
    return _istft(magnitude * np.exp(1j * phase), rate_hz, len(samples))


def harmonic(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Harmonics and noise shaped by a mel spectrogram: a neural source filter without the network.

    The source of X. Wang, S. Takaki and J. Yamagishi, "Neural source-filter waveform models for statistical parametric
    speech synthesis" (TASLP 2020).
    """
    source = _source(samples, rate_hz, rng)
    spectrum, target = _stft(source, rate_hz), np.abs(_stft(samples, rate_hz))
    target = _through_mel(target, rate_hz, rng)
    given = _through_mel(np.abs(spectrum), rate_hz, rng)
    return _istft(spectrum * target / (given + 1e-7), rate_hz, len(samples))


def phase_vocoded(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Magnitudes kept or smoothed, the phase run on from frame to frame by each bin's own frequency alone."""
    spectrum = _stft(samples, rate_hz)
    n_bins, n_steps = spectrum.shape
    hop = round(HOP_S * rate_hz)
    centre = np.arange(n_bins)[:, np.newaxis] * np.pi / (n_bins - 1) * hop
    steps = np.angle(spectrum[:, 1:]) - np.angle(spectrum[:, :-1]) - centre
    steps = centre + steps - 2 * np.pi * np.round(steps / (2 * np.pi))
    wander = rng.uniform(0.02, 0.6) * rng.standard_normal((n_bins, n_steps - 1))
    start = rng.uniform(0, 2 * np.pi, (n_bins, 1))
    phase = start + np.concatenate([np.zeros((n_bins, 1)), np.cumsum(steps + wander, axis=1)], axis=1)
    magnitude = np.abs(spectrum)
    if rng.random() < 0.5:
        magnitude = _through_mel(magnitude, rate_hz, rng)
    return _istft(magnitude * np.exp(1j * phase), rate_hz, len(samples))


def lpc(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Linear prediction of order 14 to 28, excited by harmonics and noise.

    B. Atal and S. Hanauer, "Speech analysis and synthesis by linear prediction of the speech wave" (JASA 1971).
    """
    order, hop = int(rng.integers(14, 29)), round(HOP_S * rate_hz)
    n_frame = 3 * hop
    source = _source(samples, rate_hz, rng)
    window = np.hanning(n_frame + 2)[1:-1]
    copy, weight = np.zeros(len(samples) + n_frame), np.full(len(samples) + n_frame, 1e-3)
    for start in range(0, len(samples) - n_frame, hop):
        frame = samples[start : start + n_frame] * window
        correlation = np.correlate(frame, frame, "full")[n_frame - 1 : n_frame + order]
        correlation[0] = correlation[0] * 1.0001 + 1e-8
        filter_ = np.concatenate([[1.0], -linalg.solve_toeplitz(correlation[:-1], correlation[1:])])
        error = max(float(correlation[0] + filter_[1:] @ correlation[1:]), 0.0)
        excitation = source[start : start + n_frame] * window
        gain = np.sqrt(error / (np.sum(excitation**2) + 1e-9))
        copy[start : start + n_frame] += signal.lfilter([gain], filter_, excitation)
        weight[start : start + n_frame] += window
    return (copy / np.maximum(weight, 0.5))[: len(samples)]


def upsampled(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """The upper part made of the lower one: images of a lower rate, shaped by a mel spectrogram.

    What transposed convolutions leave: J. Pons et al., "Upsampling artifacts in neural audio synthesis" (ICASSP 2021).
    """
    factor = int(rng.choice([2, 4]))
    low = signal.resample_poly(samples, 1, factor)
    images = np.zeros(len(low) * factor)
    images[::factor] = low * factor
    images = images[: len(samples)]
    leaked = rng.uniform(0.1, 1.0)
    kernel = np.convolve(np.ones(factor), np.ones(factor)) if rng.random() < 0.5 else np.ones(factor)
    mixed = leaked * images + (1 - leaked) * np.convolve(images, kernel / kernel.sum(), "same")
    spectrum, target = _stft(mixed, rate_hz), _through_mel(np.abs(_stft(samples, rate_hz)), rate_hz, rng)
    shaped = spectrum * target / (_through_mel(np.abs(spectrum), rate_hz, rng) + 1e-7)
    edge = len(spectrum) // factor
    kept = _stft(samples, rate_hz)
    shaped[: edge - 2] = kept[: edge - 2]
    return _istft(shaped, rate_hz, len(samples))


Vocoder = Callable[[np.ndarray, int, Generator], np.ndarray]
VOCODERS: dict[str, Vocoder] = {
    "mel": mel_smoothed,
    "harmonic": harmonic,
    "phase": phase_vocoded,
    "lpc": lpc,
    "upsampled": upsampled,
}


def vocode(samples: np.ndarray, rate_hz: int, name: str, rng: Generator) -> np.ndarray:
    """A copy by one vocoder, at the level of the original.

    Args:
        samples: (N,) float32 mono.
        rate_hz: its sample rate.
        name: key of `VOCODERS`.
        rng: source of every random choice.

    Returns:
        (N,) float32, finite; sound shorter than two frames comes back as it is.
    """
    if len(samples) < 2 * FRAME_S * rate_hz:
        return samples.astype(np.float32)
    wave = samples.astype(np.float64)
    copy = np.nan_to_num(VOCODERS[name](wave, rate_hz, rng))
    gain = np.sqrt(np.mean(wave**2) / (np.mean(copy**2) + 1e-12))
    return (copy * gain).astype(np.float32)


def _stft(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    n_fft, hop = round(FRAME_S * rate_hz), round(HOP_S * rate_hz)
    return signal.stft(samples, nperseg=n_fft, noverlap=n_fft - hop)[2]


def _istft(spectrum: np.ndarray, rate_hz: int, n_samples: int) -> np.ndarray:
    n_fft, hop = round(FRAME_S * rate_hz), round(HOP_S * rate_hz)
    samples = signal.istft(spectrum, nperseg=n_fft, noverlap=n_fft - hop)[1]
    return np.pad(samples, (0, max(0, n_samples - len(samples))))[:n_samples]


def _through_mel(magnitude: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Magnitudes (bins, steps) as 40 to 100 mel bands hold them, read between the bands' centres, smoothed or not."""
    n_bands = int(rng.integers(40, 101))
    top_mel = 2595 * np.log10(1 + rate_hz / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top_mel, n_bands + 2) / 2595) - 1) / (rate_hz / 2) * (len(magnitude) - 1)
    bins = np.arange(len(magnitude))
    rising = (bins - edges[:-2, np.newaxis]) / np.maximum(np.diff(edges)[:-1, np.newaxis], 1.0)
    falling = (edges[2:, np.newaxis] - bins) / np.maximum(np.diff(edges)[1:, np.newaxis], 1.0)
    filters = np.maximum(0, np.minimum(rising, falling)) + 1e-9 * (np.abs(bins - edges[1:-1, np.newaxis]) < 1)
    log_bands = np.log(filters @ magnitude**2 / filters.sum(axis=1, keepdims=True) + POWER_FLOOR)
    log_bands = _smoothed(log_bands, rng)
    weights = np.stack([np.interp(bins, edges[1:-1], row) for row in np.eye(n_bands)], axis=1)  # between the centres
    return np.exp(weights @ log_bands / 2)


def _smoothed(features: np.ndarray, rng: Generator) -> np.ndarray:
    """Over time (the last axis), half of the times: acoustic models give the mean course of a band."""
    if rng.random() < 0.5:
        return features
    kernel = signal.windows.gaussian(9, rng.uniform(0.5, 2.0))
    return signal.convolve(features, (kernel / kernel.sum())[np.newaxis], mode="same") if len(features) else features


def _source(samples: np.ndarray, rate_hz: int, rng: Generator) -> np.ndarray:
    """Harmonics of the pitch up to a random frequency, noise above it and where nothing is voiced, (N,)."""
    f0_hz, voicing = pitch(samples, rate_hz)
    hop = round(HOP_S * rate_hz)
    at = np.arange(len(samples)) / hop
    steps = np.arange(len(f0_hz))
    f0_hz, voicing = np.interp(at, steps, f0_hz), np.interp(at, steps, voicing)
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate_hz + rng.uniform(0, 2 * np.pi)
    top_hz = rng.uniform(3_000, rate_hz / 2)
    n_harmonics = int(top_hz / F0_RANGE_HZ[0])
    tone = np.zeros(len(samples))
    offsets = rng.uniform(0, 2 * np.pi, n_harmonics) * rng.choice([0.0, 0.3, 1.0])
    for k in range(1, n_harmonics + 1):
        heard = (k * f0_hz < top_hz) * voicing
        if not heard.any():
            break
        tone += heard * np.cos(k * phase + offsets[k - 1])
    noise = rng.standard_normal(len(samples))
    above = signal.sosfilt(signal.butter(4, min(top_hz, 0.49 * rate_hz), "highpass", fs=rate_hz, output="sos"), noise)
    strength = np.sqrt(2 * np.maximum(f0_hz, F0_RANGE_HZ[0]) / rate_hz)  # tones of unit density a hertz
    breath = rng.uniform(0.02, 0.3)
    return voicing * (tone * strength + above) + (1 - voicing + breath) * noise


def pitch(samples: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Fundamental frequency and voicing of every `HOP_S`: (n_steps,) Hz and (n_steps,) in 0..1.

    The highest peak of the normalised autocorrelation, by a median over five steps; unvoiced steps are bridged.
    """
    hop, n_frame = round(HOP_S * rate_hz), 2 * round(FRAME_S * rate_hz)
    padded = np.pad(samples, (n_frame // 2, n_frame // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_frame)[::hop] * np.hanning(n_frame)
    power = np.abs(np.fft.rfft(frames, 2 * n_frame)) ** 2
    correlation = np.fft.irfft(power)[:, :n_frame]
    shape = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(n_frame), 2 * n_frame)) ** 2)[:n_frame]
    shortest, longest = (round(rate_hz / f0_hz) for f0_hz in reversed(F0_RANGE_HZ))
    normalised = (
        correlation[:, shortest : longest + 1]
        / (correlation[:, :1] + 1e-9)
        / (shape / shape[0])[shortest : longest + 1]
    )
    normalised = normalised - 0.0005 * np.arange(normalised.shape[1])  # the shorter of two equal periods
    best = normalised.argmax(axis=1)
    voiced = (normalised.max(axis=1) > VOICED_CORRELATION) & (correlation[:, 0] > 1e-4 * correlation[:, 0].max())
    if not voiced.any():
        return np.full(len(best), 100.0), np.zeros(len(best))
    steps = np.arange(len(best))
    f0_hz = np.interp(steps, steps[voiced], (rate_hz / (best + shortest))[voiced])
    voicing = np.convolve(signal.medfilt(voiced.astype(float), 5), np.ones(3) / 3, "same")
    return signal.medfilt(f0_hz, 5).clip(*F0_RANGE_HZ), voicing
