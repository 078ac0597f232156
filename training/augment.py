"""Random degradation of training clips, the same for both classes, and pseudo-fakes.

What betrays a forgery in one collection (its compression, size, loudness,
bandwidth) is seldom what betrays the next, so all of it is shuffled. Labels are
never read here. Every function takes its own random generator: the same seed
gives the same clip, however many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.random import Generator
from scipy import signal

from training.audio_codecs import CODECS, transcode

MIN_CODED_S = 0.2  # of less sound some encoders make no file that can be read
_INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)


# ---------------------------------------------------------------- video


def augment_crops(crops: np.ndarray, rng: Generator) -> np.ndarray:
    """Flip, shift, recolour and degrade a clip; one draw of parameters for all its frames.

    Args:
        crops: (T, S, S, 3) uint8 RGB.
        rng: source of every random choice.

    Returns:
        A new array of the same shape and type.
    """
    frames = [frame[:, ::-1] if flip else frame for flip in [rng.random() < 0.5] for frame in crops]
    warp = _random_affine(crops.shape[1], rng, shift=0.05, scale=0.08, angle_deg=6.0)
    steps: list[Callable[[np.ndarray], np.ndarray]] = [lambda frame: _warp(frame, warp)]
    chances = [(0.6, _recolour), (0.25, _resample), (0.15, _blur), (0.4, _jpeg), (0.15, _noise), (0.05, _grey)]
    steps += [draw(rng) for chance, draw in chances if rng.random() < chance]
    for step in steps:
        frames = [step(frame) for frame in frames]
    return np.stack(frames)


def self_blend(crops: np.ndarray, face_share: float, rng: Generator) -> np.ndarray:
    """A pseudo-fake: each real face pasted onto itself with a mismatch, along a soft random edge.

    After Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images"
    (CVPR 2022). The crops are levelled and centred on the face box already, so the
    face is taken to be a random ellipse there instead of a hull of landmarks.

    Args:
        crops: (T, S, S, 3) uint8 RGB of a real face.
        face_share: side of the face box as a share of the crop's.
        rng: source of every random choice.

    Returns:
        A new array of the same shape and type.
    """
    size_px = crops.shape[1]
    mask = _face_mask(size_px, face_share, rng)[..., None] * rng.choice([0.5, 0.75, 1.0, 1.0, 1.0])
    warp = _random_affine(size_px, rng, shift=0.03, scale=0.05, angle_deg=2.0)
    mismatch = [_recolour(rng)] if rng.random() < 0.8 else []
    mismatch.append((_resample, _sharpen, _blur)[rng.choice(3, p=[0.45, 0.35, 0.2])](rng))
    mismatch += [_jpeg(rng)] if rng.random() < 0.3 else []
    change_face = rng.random() < 0.5
    blended = []
    for frame in crops:
        changed = frame
        for step in mismatch:
            changed = step(changed)
        face, background = (changed, frame) if change_face else (frame, changed)
        blended.append(_to_uint8(mask * _warp(face, warp) + (1.0 - mask) * background))
    return np.stack(blended)


# Parts that forgeries replace: chance, height of the centre below the face box's, half width and half height,
# the lengths as shares of the box's side.
_FACE_PARTS = (
    (0.65, 0.0, 0.36, 0.46),  # the whole face: swaps
    (0.25, 0.24, 0.26, 0.20),  # the mouth: lip-sync
    (0.10, -0.14, 0.34, 0.14),  # the eyes
)


def _face_mask(size_px: int, face_share: float, rng: Generator) -> np.ndarray:
    """Weights (S, S) float32 in 0..1 of one part of the face, with an elastic soft edge."""
    part = _FACE_PARTS[rng.choice(len(_FACE_PARTS), p=[chance for chance, *_ in _FACE_PARTS])]
    _, below, half_width, half_height = part
    box_px = face_share * size_px
    centre = size_px / 2 + (np.array([0.0, below]) + rng.uniform(-0.05, 0.05, 2)) * box_px
    axes = np.array([half_width, half_height]) * rng.uniform(0.8, 1.2, 2) * box_px
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float32)
    bend = rng.normal(0, 0.05 * box_px, (5, 5, 2)).astype(np.float32)
    bend = cv2.resize(bend, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    x = (columns - centre[0] + bend[..., 0]) / axes[0]
    y = (rows - centre[1] + bend[..., 1]) / axes[1]
    inside = (x**2 + y**2 < 1.0).astype(np.float32)
    return cv2.GaussianBlur(inside, (0, 0), rng.uniform(0.01, 0.06) * box_px)


def _random_affine(size_px: int, rng: Generator, *, shift: float, scale: float, angle_deg: float) -> np.ndarray:
    """A (2, 3) matrix about the centre; `shift` and `scale` are shares of the side."""
    centre = size_px / 2
    matrix = cv2.getRotationMatrix2D(
        (centre, centre), rng.uniform(-angle_deg, angle_deg), 1 + rng.uniform(-scale, scale)
    )
    matrix[:, 2] += rng.uniform(-shift, shift, 2) * size_px
    return matrix


def _warp(frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = frame.shape[1::-1]
    return cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _recolour(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    gain = 1 + rng.uniform(-0.15, 0.15) + rng.uniform(-0.06, 0.06, 3)
    offset = rng.uniform(-16, 16)
    gamma = np.exp(rng.uniform(-0.2, 0.2))
    levels = 255.0 * (np.arange(256)[:, None] / 255.0) ** gamma
    table = _to_uint8((levels - 128.0) * gain + 128.0 + offset)[None]
    saturation = 1 + rng.uniform(-0.3, 0.3)

    def recolour(frame: np.ndarray) -> np.ndarray:
        frame = cv2.LUT(np.ascontiguousarray(frame), table)
        grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(frame, saturation, grey, 1 - saturation, 0)

    return recolour


def _resample(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    factor = rng.uniform(0.45, 0.95)
    down, up = rng.choice(_INTERPOLATIONS[1:]), rng.choice(_INTERPOLATIONS[:3], p=[0.1, 0.45, 0.45])

    def resample(frame: np.ndarray) -> np.ndarray:
        small = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=int(down))
        return cv2.resize(small, frame.shape[1::-1], interpolation=int(up))

    return resample


def _blur(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    sigma_px = rng.uniform(0.3, 1.3)
    return lambda frame: cv2.GaussianBlur(frame, (0, 0), sigma_px)


def _sharpen(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    amount, sigma_px = rng.uniform(0.3, 1.2), rng.uniform(0.8, 2.5)
    return lambda frame: cv2.addWeighted(frame, 1 + amount, cv2.GaussianBlur(frame, (0, 0), sigma_px), -amount, 0)


def _jpeg(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    quality = int(rng.integers(40, 96))
    return lambda frame: cv2.imdecode(
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


def _noise(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    sigma, seed = rng.uniform(1.0, 7.0), int(rng.integers(2**31))
    frame_rng = np.random.default_rng(seed)  # a new pattern for each frame

    def noise(frame: np.ndarray) -> np.ndarray:
        return _to_uint8(frame + frame_rng.standard_normal(frame.shape, dtype=np.float32) * sigma)

    return noise


def _grey(_rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    return lambda frame: cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- audio


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
    """Soft clipping, some odd and even harmonics: a cheap microphone, an eager limiter.

    The non-linear part of H. Tak et al., "RawBoost" (ICASSP 2022).
    """
    peak = np.abs(samples).max() + 1e-9
    driven = samples / peak * rng.uniform(1.0, 4.0) + rng.uniform(-0.1, 0.1)
    return (np.tanh(driven) - np.tanh(driven.mean())) * peak


# In this order: a room and its noise, the microphone, then what files go through. Chances are of each by itself.
_SOUND_CHANGES = (
    (0.25, _reverberate),
    (0.5, _pollute),
    (0.15, _distort),
    (0.6, _equalize),
    (0.25, _band_limit),
    (0.5, _resample_rate),
    (0.45, _lossy),
    (0.1, _pollute),
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
