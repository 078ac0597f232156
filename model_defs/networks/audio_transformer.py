"""An audio network that starts from one that was taught to hear how speech was made: convolutions, then a transformer.

The layers are those of DistillMOS (B. Stahl and H. Gamper, "Distillation and Pruning for Scalable Self-Supervised
Representation-Based Speech Quality Assessment", ICASSP 2025), a student of a judge of speech quality that hears by way
of XLS-R. A window is judged by the mean and the deviation over time of what every layer makes of it: what betrays a
forgery lies in no one layer (docs/ablations.md).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (64, 64, 128, 256, 256, 256)
CEILING = 5.0  # of a standardized statistic
VARIANCE_FLOOR = 1e-5
SHARE_FLOOR = 1e-6


class SpectrumTransformerNet(nn.Module):
    """Scores one window by its compressed complex spectrum.

    Args:
        n_features: of a frame: real and imaginary part of each bin, alternating.
        n_channels: of the convolutions over frequency and time; all but the first halve the frequencies.
        halving: index of the convolution that halves the steps of time.
        n_model: size of a step in the transformer.
        n_heads, n_layers: of the transformer.
        dropout: of the statistics, in training.
    """

    # What starts from pretrained weights, and learns at the rate that such parts learn at.
    pretrained = ("local.", "embed.", "layers.")

    def __init__(
        self,
        *,
        n_features: int = 322,
        n_channels: tuple[int, ...] = CHANNELS,
        halving: int = 5,
        n_model: int = 200,
        n_heads: int = 8,
        n_layers: int = 7,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.local, n_bins = _convolutions(n_channels, halving, n_features // 2)
        self.embed = StepEmbedding(n_channels[-1] * n_bins, n_model)
        self.layers = nn.ModuleList(TransformerLayer(n_model, n_heads, 2 * n_model) for _ in range(n_layers))
        self.n_statistics = 2 * n_model * (n_layers + 1)
        self.standardize = nn.BatchNorm1d(self.n_statistics, eps=1e-6, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.n_statistics, 2)
        # TorchScript sees a module's attributes, not its globals.
        self.ceiling, self.variance_floor, self.share_floor = CEILING, VARIANCE_FLOOR, SHARE_FLOOR

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score windows.

        Args:
            features: (B, T, n_features), the compressed spectrum; a frame of zeros is digital silence, which counts
                for nothing.

        Returns:
            logits (B, 2), class 0 real and class 1 fake; attention (B, T), which sums to 1 over time: each frame's
            share of the deviation that the last layer's statistics are of.
        """
        statistics, steps, heard = self._listen(features)
        apart = steps - (steps * heard[:, :, None]).sum(1, keepdim=True) / heard.sum(1)[:, None, None]
        share = apart.square().mean(2) * heard + self.share_floor
        share = share.repeat_interleave(2, dim=1)[:, : features.shape[1]]
        return self.judge(statistics), share / share.sum(1, keepdim=True)

    def statistics(self, features: Tensor) -> Tensor:
        """Mean and deviation over time of every layer's output: (B, T, n_features) -> (B, n_statistics)."""
        return self._listen(features)[0]

    def of_maps(self, maps: Tensor, heard: Tensor) -> Tensor:
        """`statistics` of what the convolutions made, (B, S, channels * bins), where (B, S) says what is heard."""
        return self._listen_to(maps, heard)[0]

    def judge(self, statistics: Tensor) -> Tensor:
        """Statistics (B, n_statistics) -> logits (B, 2)."""
        return self.classifier(self.dropout(self.standardized(statistics)))

    def standardized(self, statistics: Tensor) -> Tensor:
        """At mean 0 and deviation 1 over the training clips, within `CEILING`: (B, n_statistics) -> the same."""
        return self.standardize(statistics).clamp(-self.ceiling, self.ceiling)

    def train(self, mode: bool = True) -> SpectrumTransformerNet:
        """As any module, but for the standardization, which stays what it was fitted to."""
        super().train(mode)
        self.standardize.eval()
        return self

    def local_steps(self, features: Tensor) -> Tensor:
        """What the convolutions make: (B, T, n_features) -> (B, ceil(T / 2), channels * bins)."""
        n_clips, n_steps, n_features = features.shape
        maps = features.view(n_clips, n_steps, n_features // 2, 2).permute(0, 3, 2, 1)
        maps = self.local(maps.contiguous(memory_format=torch.channels_last))
        return maps.flatten(1, 2).transpose(1, 2)

    def _listen(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Statistics (B, n_statistics), the last layer's steps (B, S, n_model), and which are heard (B, S)."""
        return self._listen_to(self.local_steps(features), heard_steps(features))

    def _listen_to(self, maps: Tensor, heard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steps = self.embed(maps)
        found = [self._moments(steps, heard)]
        for layer in self.layers:
            steps = layer(steps)
            found.append(self._moments(steps, heard))
        return torch.cat(found, dim=1), steps, heard

    def _moments(self, steps: Tensor, heard: Tensor) -> Tensor:
        """Mean and deviation over what is heard: (B, S, n), (B, S) -> (B, 2 * n)."""
        weights = (heard / heard.sum(1, keepdim=True))[:, :, None]
        steps = steps.to(weights.dtype)
        mean = (steps * weights).sum(1)
        variance = ((steps - mean[:, None]).square() * weights).sum(1)
        return torch.cat([mean, (variance + self.variance_floor).sqrt()], dim=1)


def heard_steps(features: Tensor) -> Tensor:
    """1 for each pair of frames that is no digital silence, else 0, or all 1 if none is: (B, T, F) -> (B, S)."""
    loud = (features.abs().amax(2) > 0).to(features.dtype)
    pairs = functional.max_pool1d(functional.pad(loud[:, None], (0, loud.shape[1] % 2)), 2)[:, 0]
    return torch.where(pairs.amax(1, keepdim=True) > 0, pairs, torch.ones_like(pairs))


class StepEmbedding(nn.Module):
    """A step's maps, scaled, as a vector with its place in time: (B, S, n_inputs) -> (B, S, n_model)."""

    def __init__(self, n_inputs: int, n_model: int, n_places: int = 384) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_inputs))
        self.shift = nn.Parameter(torch.zeros(n_inputs))
        self.projection = nn.Linear(n_inputs, n_model)
        place = torch.arange(4 * n_places)[:, None]
        rates = torch.exp(torch.arange(0, n_model, 2) * (-math.log(2 * n_places) / n_model))
        table = torch.zeros(4 * n_places, n_model)
        table[:, 0::2], table[:, 1::2] = torch.sin(place * rates), torch.cos(place * rates)
        self.register_buffer("places", table, persistent=False)  # follows from the sizes: no part of the weights

    def forward(self, steps: Tensor) -> Tensor:
        embedded = self.projection(steps * self.scale + self.shift)
        return embedded + self.places[: steps.shape[1]]


class TransformerLayer(nn.Module):
    """A. Vaswani et al., "Attention is all you need" (2017), normalised after each part: (B, S, n) -> (B, S, n).

    Written out for its linear layers' sake, which `torch.nn.MultiheadAttention` hides from dynamic quantization.
    """

    def __init__(self, n_model: int, n_heads: int, n_hidden: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.queries = nn.Linear(n_model, 3 * n_model)  # and keys and values
        self.mixed = nn.Linear(n_model, n_model)
        self.norm_attended = nn.LayerNorm(n_model)
        self.widened = nn.Linear(n_model, n_hidden)
        self.narrowed = nn.Linear(n_hidden, n_model)
        self.norm = nn.LayerNorm(n_model)

    def forward(self, steps: Tensor) -> Tensor:
        n_clips, n_steps, n_model = steps.shape
        parts = self.queries(steps).view(n_clips, n_steps, 3, self.n_heads, n_model // self.n_heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).reshape(n_clips, n_steps, n_model)
        steps = self.norm_attended(steps + self.mixed(attended))
        return self.norm(steps + self.narrowed(functional.relu(self.widened(steps))))


def _convolutions(n_channels: tuple[int, ...], halving: int, n_bins: int) -> tuple[nn.Sequential, int]:
    """Convolutions (B, 2, n_bins, T) -> (B, n_channels[-1], bins, ceil(T / 2)), and the bins that are left."""
    layers: list[nn.Module] = []
    n_inputs = 2
    for index, n_outputs in enumerate(n_channels):
        stride = (2 if index else 1, 2 if index == halving else 1)
        layers += [nn.Conv2d(n_inputs, n_outputs, 3, stride, padding=(0, 1)), nn.LeakyReLU(0.1)]
        n_inputs, n_bins = n_outputs, (n_bins - 3) // stride[0] + 1
    return nn.Sequential(*layers), n_bins
