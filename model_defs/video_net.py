"""The video networks: a CNN on each frame, then an LSTM over time with attention, or each frame scored by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_defs.attention import AdditiveAttention
from model_defs.backbones import Backbone


class VideoNet(nn.Module):
    """Scores the face crops of one clip.

    Args:
        backbone: gives `backbone.n_features` values an image.
        n_projected: size of each frame's vector before the LSTM.
        n_hidden: LSTM state size (per direction).
        n_layers: LSTM layers.
        bidirectional: read the clip both ways.
        dropout: after the projection, between LSTM layers and in the classifier.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        n_projected: int = 512,
        n_hidden: int = 256,
        n_layers: int = 2,
        bidirectional: bool = True,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.projection = nn.Sequential(
            nn.Linear(backbone.n_features, n_projected), nn.ReLU(inplace=True), nn.Dropout(dropout)
        )
        self.temporal = nn.LSTM(
            n_projected,
            n_hidden,
            num_layers=n_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if n_layers > 1 else 0.0,
        )
        n_context = n_hidden * (2 if bidirectional else 1)
        self.attention = AdditiveAttention(n_context, 256)
        self.classifier = nn.Sequential(
            nn.Linear(n_context, 256), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(256, 2)
        )

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Score clips.

        Args:
            frames: (B, T, 3, H, W) normalised face crops in order of time.

        Returns:
            logits (B, 2), class 0 real and class 1 fake; attention (B, T), which sums to 1 over time.
        """
        # Channels-last is the layout that CPU convolutions are quickest in, fp32 and int8 alike.
        images = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        vectors = self.projection(self.backbone(images)).view(frames.shape[0], frames.shape[1], -1)
        context, attention = self.attention(self.temporal(vectors)[0])
        return self.classifier(context), attention


class FrameScoreNet(nn.Module):
    """Scores each face crop by itself; the clip's logits are a weighted mean of its frames'.

    It sees no motion. Where clips are few and frames many it generalises better than a recurrent head, which
    learns the people by heart. A new one weighs all frames alike; training on clips of several frames teaches it
    which to trust, training on single frames leaves that as it is.

    Args:
        backbone: gives `backbone.n_features` values an image.
        dropout: before the classifier.
    """

    def __init__(self, backbone: Backbone, *, dropout: float = 0.3) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.attention = nn.Linear(backbone.n_features, 1)
        nn.init.zeros_(self.attention.weight)
        nn.init.zeros_(self.attention.bias)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(backbone.n_features, 2))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Score clips.

        Args:
            frames: (B, T, 3, H, W) normalised face crops in any order.

        Returns:
            logits (B, 2), class 0 real and class 1 fake; attention (B, T), which sums to 1 over time.
        """
        images = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        vectors = self.backbone(images).view(frames.shape[0], frames.shape[1], -1)
        attention = torch.softmax(self.attention(vectors).squeeze(-1), dim=1)
        return torch.bmm(attention.unsqueeze(1), self.classifier(vectors)).squeeze(1), attention
