"""An audio network that judges a window by how its bands vary, not by what they are.

Some hundred clips are too few for convolutions and recurrence to find what forged speech has in common; the moments of
bands and cepstra over time, which such layers would have to find first, need not be learned. A kernel machine over them
does better on systems that it has not heard (docs/ablations.md), and costs a fraction.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DEVIATION_FLOOR = 0.01  # added before the logarithm; a unit is 10 dB
MOMENT_FLOOR = 0.05  # added to deviations that are divided by
MOMENT_CEILING = 5.0
SHARE_FLOOR = 1e-6
LAGS = (1, 2, 4, 8, 16)  # frames
BAND_LAGS = (1, 2, 4, 8)  # bands
N_COUPLED = 24  # cepstra whose correlations with each other are taken


class FeatureStatistics(nn.Module):
    """Moments over time of bands and of their cepstra, (B, T, n_bands) -> (B, n_statistics).

    Standard deviations of bands, cepstra and the changes of both over time and from band to band; skewness, kurtosis
    and correlations in time and between bands. Moments of cepstra as features go back to S. Furui, "Cepstral analysis
    technique for automatic speaker verification" (TASSP 1981) and, pooled inside a network, to D. Snyder et al.,
    "X-vectors" (ICASSP 2018).

    Args:
        n_bands: features a frame.
        n_cepstra: of each frame's bands.
        lags: frames apart at which bands and cepstra are correlated with themselves.
        band_lags: bands apart at which bands and their changes are correlated with each other.
    """

    def __init__(
        self,
        n_bands: int = 80,
        n_cepstra: int = 60,
        lags: tuple[int, ...] = LAGS,
        band_lags: tuple[int, ...] = BAND_LAGS,
    ) -> None:
        super().__init__()
        order, band = torch.arange(n_cepstra)[None].double(), torch.arange(n_bands)[:, None].double()
        table = math.sqrt(2 / n_bands) * torch.cos(math.pi * order * (band + 0.5) / n_bands)
        table[:, 0] /= math.sqrt(2)
        self.register_buffer("dct", table.float(), persistent=False)  # follows from the sizes: no part of the weights
        n_coupled = min(N_COUPLED, n_cepstra)
        pairs = torch.triu_indices(n_coupled, n_coupled, 1)
        self.register_buffer("pairs", pairs[0] * n_coupled + pairs[1], persistent=False)
        self.n_coupled = n_coupled
        self.deviation_floor, self.moment_floor, self.ceiling = DEVIATION_FLOOR, MOMENT_FLOOR, MOMENT_CEILING
        self.lags, self.band_lags = lags, band_lags
        with torch.no_grad():
            self.n_statistics = self.forward(torch.zeros(1, 2 * max(lags), n_bands)).shape[1]

    def forward(self, bands: Tensor) -> Tensor:
        """bands (B, T, n_bands), T above 3 -> (B, n_statistics)."""
        cepstra = bands @ self.dct
        slopes, cepstral_slopes = bands[:, 1:] - bands[:, :-1], cepstra[:, 2:] - cepstra[:, :-2]
        found = [
            self._log_deviation(bands),
            self._log_deviation(slopes),
            self._log_deviation(bands[:, :, 1:] - bands[:, :, :-1]),
            self._log_deviation(cepstra),
            self._log_deviation(cepstral_slopes),
            self._log_deviation(cepstral_slopes[:, 1:] - cepstral_slopes[:, :-1]),
        ]
        for sequence in (bands, slopes, cepstra):
            normal = self._normal(sequence)
            found.append(normal.pow(3).mean(1).clamp(-self.ceiling, self.ceiling))
            found.append(normal.pow(4).mean(1).clamp(0.1, 50.0).log())
        normal, normal_slopes, normal_cepstra = self._normal(bands), self._normal(slopes), self._normal(cepstra)
        for lag in self.lags:
            lag = min(lag, slopes.shape[1])  # of a window shorter than that
            found.append((normal[:, lag:] * normal[:, :-lag]).mean(1))
            found.append((normal_cepstra[:, lag:] * normal_cepstra[:, :-lag]).mean(1))
        for lag in self.band_lags:
            found.append((normal[:, :, lag:] * normal[:, :, :-lag]).mean(1))
            found.append((normal_slopes[:, :, lag:] * normal_slopes[:, :, :-lag]).mean(1))
        coupled = normal_cepstra[:, :, : self.n_coupled]
        couplings = torch.bmm(coupled.transpose(1, 2), coupled) / coupled.shape[1]
        found.append(couplings.flatten(1)[:, self.pairs])
        return torch.cat(found, dim=1)

    def _log_deviation(self, sequence: Tensor) -> Tensor:
        """(B, T, n) -> (B, n)."""
        return (sequence.std(1, correction=0) + self.deviation_floor).log()

    def _normal(self, sequence: Tensor) -> Tensor:
        """Mean 0 and deviation 1 over time, or less where it hardly varies: (B, T, n) -> (B, T, n)."""
        apart = sequence - sequence.mean(1, keepdim=True)
        return apart / (apart.square().mean(1, keepdim=True).sqrt() + self.moment_floor)


class StatisticsNet(nn.Module):
    """Scores one window by its `FeatureStatistics`: a support vector machine with a Gaussian kernel, as a network.

    Nothing in it is learned by descent: `training.fit_audio` sets the standardization, the principal axes and the
    support vectors in closed form. C. Cortes and V. Vapnik, "Support-vector networks" (Machine Learning 20, 1995).

    Args:
        n_features: bands a frame.
        n_cepstra, lags, band_lags: of the statistics.
        n_axes: principal axes of the statistics that are kept.
        n_support_vectors: room for support vectors; those that are not used weigh nothing.
    """

    def __init__(
        self,
        *,
        n_features: int = 80,
        n_cepstra: int = 60,
        lags: tuple[int, ...] = LAGS,
        band_lags: tuple[int, ...] = BAND_LAGS,
        n_axes: int = 200,
        n_support_vectors: int = 4_096,
    ) -> None:
        super().__init__()
        self.statistics = FeatureStatistics(n_features, n_cepstra, lags, band_lags)
        self.ceiling, self.share_floor = MOMENT_CEILING, SHARE_FLOOR
        self.standardize = nn.BatchNorm1d(self.statistics.n_statistics, eps=1e-6, affine=False)
        self.projection = nn.Linear(self.statistics.n_statistics, n_axes)
        self.classifier = KernelMachine(n_axes, n_support_vectors)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score windows.

        Args:
            features: (B, T, n_features), each band's mean over the window taken off; T above 3.

        Returns:
            logits (B, 2), class 0 real and class 1 fake; attention (B, T), which sums to 1 over time: each frame's
            share of the deviations that the statistics are of, for there is nothing here that looks elsewhere.
        """
        logits = self.judge(self.statistics(features))
        share = features.square() / (features.square().sum(1, keepdim=True) + self.share_floor)
        attention = share.mean(2) + self.share_floor
        return logits, attention / attention.sum(1, keepdim=True)

    def train(self, mode: bool = True) -> StatisticsNet:
        """As any module, but for the standardization, which stays what it was fitted to."""
        super().train(mode)
        self.standardize.eval()
        return self

    def judge(self, statistics: Tensor) -> Tensor:
        """Statistics (B, n_statistics) -> logits (B, 2)."""
        return self.classifier(self.projection(self.standardized(statistics)))

    def standardized(self, statistics: Tensor) -> Tensor:
        """At mean 0 and deviation 1 over the training clips, within `MOMENT_CEILING`: (B, n_statistics) -> the same."""
        return self.standardize(statistics).clamp(-self.ceiling, self.ceiling)


class KernelMachine(nn.Module):
    """Logits from kernel to support_vectors: (B, n_axes) -> (B, 2).

    Its parameters are no linear layer's, so that dynamic quantization leaves them alone: the small differences between
    many near support_vectors are the verdict, and int8 would round them away.

    Attributes:
        support_vectors: (n_support_vectors, n_axes).
        dual_coefficients: of each centre towards the classes, (n_support_vectors, 2).
        bias: of the logits, (2,).
    """

    def __init__(self, n_axes: int, n_support_vectors: int) -> None:
        super().__init__()
        self.support_vectors = nn.Parameter(torch.randn(n_support_vectors, n_axes) / math.sqrt(2 * n_axes))
        self.dual_coefficients = nn.Parameter(torch.randn(n_support_vectors, 2) / math.sqrt(n_support_vectors))
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, points: Tensor) -> Tensor:
        """The sum of the dual_coefficients, each times exp(-squared distance): (B, n_axes) -> (B, 2)."""
        return self.kernel(points) @ self.dual_coefficients + self.bias

    def kernel(self, points: Tensor) -> Tensor:
        """(B, n_axes) -> (B, n_support_vectors), 0 to 1."""
        lengths = points.square().sum(1, keepdim=True) + self.support_vectors.square().sum(1)
        return (2 * points @ self.support_vectors.t() - lengths).clamp(max=0.0).exp()
