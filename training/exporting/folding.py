"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from model_defs.networks.audio import AudioNet, SpectrogramNet
from model_defs.networks.audio_svm import StatisticsNet
from model_defs.networks.video import FrameSequenceNet


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """The model in eval mode with each batch norm folded into the convolution before it; the same function.

    A model that torch.fx cannot trace as a whole comes back unchanged, with a warning.
    """
    model = model.eval()
    if not any(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in model.modules()):
        return model
    if isinstance(model, StatisticsNet):
        return model  # its batch norm follows no convolution
    if isinstance(model, FrameSequenceNet):
        model.backbone = fuse(model.backbone)
    elif isinstance(model, (AudioNet, SpectrogramNet)):
        model.local = fuse(model.local)
    else:
        try:
            return fuse(model)
        except torch.fx.proxy.TraceError as error:
            warnings.warn(f"batch norms were not folded: {error}", stacklevel=2)
    return model
