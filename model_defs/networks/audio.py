"""The audio networks: convolutions or none, a GRU over feature frames, attention, a classifier."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_defs.networks.attention import AdditiveAttention


class AudioNet(nn.Module):
    """Scores one window of features.

    Args:
        n_features: features a frame.
        n_channels: output channels of each convolution between the input and the GRU; empty for none.
        stride: step of each convolution, so the GRU reads 1 / stride ** len(n_channels) of the frames.
        n_hidden: GRU state size (per direction).
        n_layers: GRU layers.
        bidirectional: read the window both ways.
        n_classifier: sizes of the classifier's two hidden layers.
        dropout: between GRU layers and in the classifier.
    """

    def __init__(
        self,
        *,
        n_features: int = 120,
        n_channels: tuple[int, ...] = (),
        stride: int = 2,
        n_hidden: int = 256,
        n_layers: int = 2,
        bidirectional: bool = True,
        n_classifier: tuple[int, int] = (256, 64),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_features)
        self.local = _convolutions((n_features, *n_channels), stride)
        self.temporal = nn.GRU(
            n_channels[-1] if n_channels else n_features,
            n_hidden,
            num_layers=n_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if n_layers > 1 else 0.0,
        )
        n_context = n_hidden * (2 if bidirectional else 1)
        self.attention = AdditiveAttention(n_context, n_context // 2)
        self.classifier = nn.Sequential(
            nn.Linear(n_context, n_classifier[0]),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(n_classifier[0], n_classifier[1]),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(n_classifier[1], 2),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score windows.

        Args:
            features: (B, T, n_features), normalised per window.

        Returns:
            logits (B, 2), class 0 real and class 1 fake; attention (B, T), which sums to 1 over time.
            Where convolutions shorten the sequence, each step's weight is spread over the frames it covers.
        """
        sequence = self.local(self.norm(features).transpose(1, 2)).transpose(1, 2)
        context, attention = self.attention(self.temporal(sequence)[0])
        return self.classifier(context), _spread(attention, features.shape[1])


class SpectrogramNet(nn.Module):
    """Scores one window of bands as a picture of time and frequency: residual convolutions, then a GRU over time.

    Where `AudioNet` mixes all features from its first layer on, this one's filters are local in frequency too, so
    that what it learns in one band holds in the next.

    Args:
        n_features: bands a frame.
        n_channels: of the stem and of each residual block after the first.
        n_hidden: GRU state size per direction; the GRU reads every fourth frame, both ways.
        dropout: before the GRU and in the classifier.
    """

    def __init__(
        self,
        *,
        n_features: int = 80,
        n_channels: tuple[int, ...] = (24, 48, 64),
        n_hidden: int = 96,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        first = n_channels[0]
        blocks: list[nn.Module] = [
            nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            ResidualBlock(first, first, (1, 1)),
        ]
        n_rows = (n_features + 1) // 2
        for index, (n_in, n_out) in enumerate(itertools.pairwise(n_channels)):
            blocks.append(ResidualBlock(n_in, n_out, (2 if index == 0 else 1, 2)))
            n_rows = (n_rows + 1) // 2
        self.local = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        self.projection = nn.Sequential(
            nn.Linear(n_channels[-1] * n_rows, 2 * n_hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)
        )
        self.temporal = nn.GRU(2 * n_hidden, n_hidden, batch_first=True, bidirectional=True)
        self.attention = AdditiveAttention(2 * n_hidden, n_hidden)
        self.classifier = nn.Sequential(
            nn.Linear(2 * n_hidden, n_hidden), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(n_hidden, 2)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score windows.

        Args:
            features: (B, T, n_features), normalised per window.

        Returns:
            logits (B, 2), class 0 real and class 1 fake; attention (B, T), which sums to 1 over time,
            each step's weight spread over the frames it covers.
        """
        # Channels-last is the layout that CPU convolutions are quickest in, fp32 and int8 alike.
        spectrograms = features.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        maps = self.local(spectrograms)  # (B, C, T / 4, rows)
        sequence = self.projection(maps.transpose(1, 2).flatten(2))
        context, attention = self.attention(self.temporal(sequence)[0])
        return self.classifier(context), _spread(attention, features.shape[1])


class ResidualBlock(nn.Module):
    """Two 3 by 3 convolutions beside a shortcut: (B, n_in, H, W) -> (B, n_out, H / stride[0], W / stride[1])."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if n_in != n_out or stride != (1, 1):
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, n_in, H, W) -> (B, n_out, H', W')."""
        return functional.relu(self.convolutions(maps) + self.shortcut(maps))


def _spread(attention: Tensor, n_frames: int) -> Tensor:
    """Weights (B, T') over the frames that each covers, (B, n_frames), which sum to 1."""
    if attention.shape[1] == n_frames:
        return attention
    attention = functional.interpolate(attention.unsqueeze(1), size=n_frames).squeeze(1)
    return attention / attention.sum(dim=1, keepdim=True)


def _convolutions(n_channels: tuple[int, ...], stride: int) -> nn.Sequential:
    """Conv-BN-ReLU blocks over time, (B, n_channels[0], T) -> (B, n_channels[-1], T / stride ** blocks)."""
    blocks: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(n_channels):
        blocks += [
            nn.Conv1d(n_in, n_out, kernel_size=5, stride=stride, padding=2, bias=False),
            nn.BatchNorm1d(n_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*blocks)
