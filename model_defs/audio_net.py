"""The audio networks: GRUs over feature frames, attention, a classifier."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from model_defs.attention import AdditiveAttention


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
        if attention.shape[1] != features.shape[1]:
            attention = functional.interpolate(attention.unsqueeze(1), size=features.shape[1]).squeeze(1)
            attention = attention / attention.sum(dim=1, keepdim=True)
        return self.classifier(context), attention


def _convolutions(n_channels: tuple[int, ...], stride: int) -> nn.Sequential:
    """Conv-BN-ReLU blocks over time, (B, n_channels[0], T) -> (B, n_channels[-1], T / stride ** blocks)."""
    blocks: list[nn.Module] = []
    for n_in, n_out in zip(n_channels, n_channels[1:], strict=False):
        blocks += [
            nn.Conv1d(n_in, n_out, kernel_size=5, stride=stride, padding=2, bias=False),
            nn.BatchNorm1d(n_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*blocks)
