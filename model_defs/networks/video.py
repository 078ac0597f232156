"""The video networks: a CNN on each frame, then an LSTM over time with attention, or each frame scored by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_defs.networks.attention import AdditiveAttention
from model_defs.networks.backbones import Backbone


class FrameSequenceNet(nn.Module):
    """A backbone on every frame, and something small over what it gave.

    Args:
        backbone: gives `backbone.n_features` values an image.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Score clips.

        Args:
            frames: (B, T, 3, H, W) normalised face crops in order of time.

        Returns:
            logits (B, 2), class 0 real and class 1 fake; attention (B, T), which sums to 1 over time.
        """
        # Channels-last is the layout that CPU convolutions are quickest in, fp32 and int8 alike.
        images = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.judge(self.backbone(images).view(frames.shape[0], frames.shape[1], -1))

    def judge(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """What comes after the backbone: (B, T, n_features) -> logits (B, 2) and attention (B, T)."""
        raise NotImplementedError

    def feature_maps(self, frames: Tensor) -> Tensor:
        """The backbone's last map of each frame, before it is averaged: (B, T, 3, H, W) -> (B, T, C, h, w)."""
        images = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.backbone.features(images).unflatten(0, (frames.shape[0], frames.shape[1]))

    def judge_maps(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The rest of `forward` on what `feature_maps` gave: (B, T, C, h, w) -> logits (B, 2) and attention (B, T)."""
        return self.judge(self.backbone.pool(maps.flatten(0, 1)).view(maps.shape[0], maps.shape[1], -1))


class VideoNet(FrameSequenceNet):
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
        super().__init__(backbone)
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

    def judge(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """See `FrameSequenceNet.judge`."""
        context, attention = self.attention(self.temporal(self.projection(vectors))[0])
        return self.classifier(context), attention


class FrameScoreNet(FrameSequenceNet):
    """Scores each face crop by itself; the clip's logits are a weighted mean of its frames'.

    It sees no motion. Where clips are few and frames many it generalises better than a recurrent head, which
    learns the people by heart. A new one weighs all frames alike; training on clips of several frames teaches it
    which to trust, training on single frames leaves that as it is.

    Args:
        backbone: gives `backbone.n_features` values an image.
        dropout: before the classifier.
    """

    def __init__(self, backbone: Backbone, *, dropout: float = 0.3) -> None:
        super().__init__(backbone)
        self.attention = nn.Linear(backbone.n_features, 1)
        nn.init.zeros_(self.attention.weight)
        nn.init.zeros_(self.attention.bias)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(backbone.n_features, 2))

    def judge(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """See `FrameSequenceNet.judge`."""
        attention = torch.softmax(self.attention(vectors).squeeze(-1), dim=1)
        return torch.bmm(attention.unsqueeze(1), self.classifier(vectors)).squeeze(1), attention


class SplitVideoNet(nn.Module):
    """A network whose TorchScript form can also be run in its two `artifact.PARTS`."""

    def __init__(self, net: FrameSequenceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FrameSequenceNet.forward`."""
        return self.net(frames)

    @torch.jit.export
    def feature_maps(self, frames: Tensor) -> Tensor:
        """See `FrameSequenceNet.feature_maps`."""
        return self.net.feature_maps(frames)

    @torch.jit.export
    def judge_maps(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `FrameSequenceNet.judge_maps`."""
        return self.net.judge_maps(maps)
