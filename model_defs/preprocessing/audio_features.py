"""From a window of samples to features, one row a frame. `AudioSpec.features` names the front end.

`linear_bands`: log energies of bands of equal width, less each band's mean over the window. Neural vocoders betray
themselves above 4 kHz, where the mel scale is coarse, so bands of equal width keep what cepstra smooth over.

`compressed_spectrum`: the complex spectrum itself, its magnitudes brought nearer each other, for convolutions.

`mfcc`: 120 features, 40 MFCC, delta and delta-delta. Two extractors give the same numbers: `librosa_features`, the
reference, and `MfccFrontend`, the same steps in torch, which is faster and spares a worker the import of librosa; it
is the one that trains and serves, and a test holds the two equal. Steps and defaults are those of
`librosa.feature.mfcc` and `librosa.feature.delta`:

    samples -> Hann frames, zeros beyond both ends -> power spectrum -> mel bands (Slaney)
            -> dB, at most 80 below the window's loudest -> DCT-II -> deltas -> normalised

The torch version transforms in float32 and goes on in float64 from the mel bands, which costs nothing:
MFCC run to several hundred while their deltas matter by the hundredth.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from model_defs.spec import AudioSpec

POWER_FLOOR = 1e-10  # librosa.power_to_db(amin=)
DYNAMIC_RANGE_DB = 80.0  # librosa.power_to_db(top_db=)
DELTA_WIDTH = 9  # librosa.feature.delta(width=)
# Least deviation that a feature is divided by: at or below the least that speech shows (0.15 in 300 clips).
# The deltas of a steady tone deviate by rounding errors alone, which must not be blown up.
STD_FLOOR = 0.15
SPECTRUM_EXPONENT = 0.3  # of a magnitude, that of the pretrained encoder
MAGNITUDE_FLOOR = 1e-12
BAND_SCALE_DB = 10.0  # what log energies are divided by: they then deviate by about 1


def create_frontend(spec: AudioSpec) -> nn.Module:
    """The front end that the spec names, in eval mode: (W, n_samples) -> (W, n_steps, n_features)."""
    return FRONTENDS[spec.features](spec).eval()


def librosa_features(window: np.ndarray, spec: AudioSpec, *, normalise: bool = True) -> np.ndarray:
    """The reference: features of one window by librosa.

    Args:
        window: samples (N,), N = `spec.n_samples`.
        normalise: bring every feature to mean 0 and deviation 1 over the window's time.

    Returns:
        (n_steps, 3 * n_mfcc) float32.
    """
    import librosa  # seconds and some 140 MB, for training and tests only

    mfcc = librosa.feature.mfcc(
        y=window.astype(np.float64),
        sr=spec.rate_hz,
        n_mfcc=spec.n_mfcc,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        pad_mode="constant",
    )
    deltas = [librosa.feature.delta(mfcc, width=DELTA_WIDTH, order=order) for order in (1, 2)]
    features = np.concatenate([mfcc, *deltas]).T
    if normalise:
        deviation = np.maximum(features.std(axis=0), STD_FLOOR)
        features = (features - features.mean(axis=0)) / deviation
    return features.astype(np.float32)


class MfccFrontend(nn.Module):
    """`librosa_features` for many windows at once, in torch alone; scriptable."""

    def __init__(self, spec: AudioSpec, *, normalise: bool = True) -> None:
        super().__init__()
        self.hop_length = spec.hop_length
        self.normalise = normalise
        # TorchScript sees a module's attributes, not its globals.
        self.power_floor, self.dynamic_range_db = POWER_FLOOR, DYNAMIC_RANGE_DB
        self.delta_width, self.std_floor = DELTA_WIDTH, STD_FLOOR
        tables = {
            "hann": torch.hann_window(spec.n_fft, dtype=torch.float64).float(),
            "mel": torch.from_numpy(slaney_mel_filters(spec)).float().T.contiguous(),
            "dct": torch.from_numpy(dct_table(spec)).T.contiguous(),
            "slopes": torch.from_numpy(delta_kernels()).T.contiguous(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)  # follows from the spec: no part of the weights

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Features of each window by itself.

        Args:
            windows: samples (W, N) float32.

        Returns:
            (W, n_steps, 3 * n_mfcc) float32, n_steps = N // hop_length + 1.
        """
        power = power_spectrum(windows, self.hann, self.hop_length)
        mel_db = 10.0 * torch.log10((power @ self.mel).double().clamp(min=self.power_floor))
        mel_db = torch.maximum(mel_db, mel_db.amax((1, 2), keepdim=True) - self.dynamic_range_db)
        mfcc = mel_db @ self.dct  # (W, n_steps, n_mfcc)
        features = torch.cat([mfcc, self.deltas(mfcc)], dim=-1)
        if self.normalise:
            features = features - features.mean(1, keepdim=True)
            deviation = features.square().mean(1, keepdim=True).sqrt()
            features = features / deviation.clamp(min=self.std_floor)
        return features.to(torch.float32)

    def deltas(self, mfcc: torch.Tensor) -> torch.Tensor:
        """First and second derivative over time: (W, n_steps, n_mfcc) -> (W, n_steps, 2 * n_mfcc)."""
        slopes = mfcc.unfold(1, self.delta_width, 1) @ self.slopes  # (W, n_steps - 8, n_mfcc, 2)
        slopes = slopes.permute(0, 3, 2, 1).flatten(1, 2)  # (W, 2 * n_mfcc, n_steps - 8)
        # The k-th derivative of a fitted polynomial of degree k is constant over the fit, so reading the
        # first and last fit off at the edges (savgol_filter's mode "interp") repeats their values.
        edge = self.delta_width // 2
        return functional.pad(slopes, (edge, edge), mode="replicate").transpose(1, 2)


class LinearBandFrontend(nn.Module):
    """Log energies of bands of equal width, each band's mean over the window taken off; scriptable.

    The mean carries the microphone, the equalizer and the level, and little of what forges speech.
    """

    def __init__(self, spec: AudioSpec) -> None:
        super().__init__()
        self.hop_length = spec.hop_length
        self.power_floor, self.dynamic_range_db, self.scale_db = POWER_FLOOR, DYNAMIC_RANGE_DB, BAND_SCALE_DB
        tables = {
            "hann": torch.hann_window(spec.n_fft, dtype=torch.float64).float(),
            "bands": torch.from_numpy(linear_filters(spec)).float().T.contiguous(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)  # follows from the spec: no part of the weights

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Features of each window by itself.

        Args:
            windows: samples (W, N) float32.

        Returns:
            (W, n_steps, n_bands) float32, n_steps = N // hop_length + 1; a unit is `BAND_SCALE_DB`.
        """
        power = power_spectrum(windows, self.hann, self.hop_length)
        band_db = 10.0 * torch.log10((power @ self.bands).clamp(min=self.power_floor))
        band_db = torch.maximum(band_db, band_db.amax((1, 2), keepdim=True) - self.dynamic_range_db)
        return (band_db - band_db.mean(1, keepdim=True)) / self.scale_db


class CompressedSpectrumFrontend(nn.Module):
    """Complex spectrum of the window at a peak of 1, each magnitude to the power of 0.3, its phase kept; scriptable.

    What DistillMOS hears (`model_defs.networks.audio_transformer`), but for centred frames.
    """

    def __init__(self, spec: AudioSpec) -> None:
        super().__init__()
        self.hop_length = spec.hop_length
        self.exponent, self.floor = SPECTRUM_EXPONENT, MAGNITUDE_FLOOR
        hann = torch.hann_window(spec.n_fft, dtype=torch.float64).float()
        self.register_buffer("hann", hann, persistent=False)  # follows from the spec: no part of the weights

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Features of each window by itself.

        Args:
            windows: samples (W, N) float32.

        Returns:
            (W, n_steps, n_fft + 2) float32, n_steps = N // hop_length + 1: real and imaginary part of each bin in turn.
            A frame without sound is zero.
        """
        windows = windows / windows.abs().amax(1, keepdim=True).clamp(min=self.floor)
        n_fft = self.hann.shape[0]
        padded = functional.pad(windows[:, None], (n_fft // 2, n_fft // 2), mode="reflect")[:, 0]
        spectrum = torch.fft.rfft(padded.unfold(-1, n_fft, self.hop_length) * self.hann)
        magnitude = spectrum.abs().clamp(min=self.floor)
        compressed = torch.view_as_real(spectrum) * magnitude.pow(self.exponent - 1)[..., None]
        return compressed.flatten(2)


FRONTENDS = {
    "mfcc": MfccFrontend,
    "linear_bands": LinearBandFrontend,
    "compressed_spectrum": CompressedSpectrumFrontend,
}


def power_spectrum(windows: torch.Tensor, hann: torch.Tensor, hop_length: int) -> torch.Tensor:
    """Power of centred frames: windows (W, N) float32, hann (n_fft,) -> (W, N // hop_length + 1, n_fft // 2 + 1)."""
    n_fft = hann.shape[0]
    padded = functional.pad(windows, (n_fft // 2, n_fft // 2))
    spectrum = torch.fft.rfft(padded.unfold(-1, n_fft, hop_length) * hann)
    return spectrum.real.square() + spectrum.imag.square()


def linear_filters(spec: AudioSpec) -> np.ndarray:
    """Triangular filters, (n_bands, n_fft // 2 + 1): evenly spaced from 0 Hz to half the rate, each summing to 1.

    As the linear filter banks of M. Sahidullah et al., "A Comparison of Features for Synthetic Speech Detection"
    (Interspeech 2015).
    """
    bins = np.arange(spec.n_fft // 2 + 1)
    edges = np.linspace(0, spec.n_fft / 2, spec.n_bands + 2)
    low, centre, high = (edges[start : start + spec.n_bands, np.newaxis] for start in range(3))
    filters = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return filters / filters.sum(axis=1, keepdims=True)


def slaney_mel_filters(spec: AudioSpec) -> np.ndarray:
    """Triangular filters of equal area, (n_mels, n_fft // 2 + 1), from 0 Hz to half the rate.

    The scale is that of M. Slaney, "Auditory Toolbox" (Interval Research, 1998), as
    `librosa.filters.mel` has it by default: 15 mel to 1 kHz, then 27 mel for each factor of 6.4.
    """
    linear_top_hz, hz_per_mel, log_step = 1_000.0, 200 / 3, math.log(6.4) / 27
    linear_top_mel = linear_top_hz / hz_per_mel
    top_hz = spec.rate_hz / 2
    if top_hz > linear_top_hz:
        top_mel = linear_top_mel + math.log(top_hz / linear_top_hz) / log_step
    else:
        top_mel = top_hz / hz_per_mel
    mels = np.linspace(0, top_mel, spec.n_mels + 2)
    above = np.maximum(mels - linear_top_mel, 0)
    edges_hz = np.where(above > 0, linear_top_hz * np.exp(log_step * above), hz_per_mel * mels)

    bins_hz = np.linspace(0, top_hz, spec.n_fft // 2 + 1)
    low, centre, high = (edges_hz[start : start + spec.n_mels, np.newaxis] for start in range(3))
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)


def dct_table(spec: AudioSpec) -> np.ndarray:
    """The first rows of the orthonormal DCT-II, (n_mfcc, n_mels), as `scipy.fft.dct(norm="ortho")` has it."""
    order = np.arange(spec.n_mfcc)[:, np.newaxis]
    table = np.sqrt(2 / spec.n_mels) * np.cos(np.pi * order * (np.arange(spec.n_mels) + 0.5) / spec.n_mels)
    table[0] /= np.sqrt(2)
    return table


def delta_kernels() -> np.ndarray:
    """Slope and curvature of least-squares fits over `DELTA_WIDTH` steps, (2, DELTA_WIDTH).

    A. Savitzky and M. Golay, Analytical Chemistry 36 (1964), 1627: a line for the first
    derivative and a parabola for the second.
    """
    step = np.arange(DELTA_WIDTH) - DELTA_WIDTH // 2
    bend = step**2 - np.mean(step**2)
    return np.stack([step / np.sum(step**2), 2 * bend / np.sum(bend**2)])
