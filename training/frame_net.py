"""An image backbone that scores single frames, to pre-train it before it is given a memory."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from model_defs.backbones import Backbone


class FrameNet(nn.Module):
    """A backbone and one linear layer; a clip's logits are the mean of its frames'."""

    def __init__(self, backbone: Backbone, dropout: float = 0.2) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(backbone.n_features, 2))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, 3, H, W) -> logits (B, 2) and even attention (B, T), as VideoNet returns them."""
        images = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        logits = self.classifier(self.backbone(images)).view(frames.shape[0], frames.shape[1], 2)
        return logits.mean(dim=1), torch.full_like(logits[..., 0], 1 / frames.shape[1])


def load_backbone(net: nn.Module, checkpoint: Path) -> None:
    """Copy the backbone of a FrameNet's checkpoint into a VideoNet.

    Raises:
        RuntimeError: it is another backbone.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state"]
    prefix = "backbone."
    net.backbone.load_state_dict({name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)})
