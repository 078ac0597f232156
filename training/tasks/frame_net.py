"""A backbone that was trained on single frames, handed to a network over time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def load_backbone(net: nn.Module, checkpoint: Path) -> None:
    """Copy the backbone of a checkpoint of `pretrain_frames`, or of any video network, into a video network.

    Raises:
        RuntimeError: it is another backbone.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state"]
    prefix = "backbone."
    net.backbone.load_state_dict({name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)})
