"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from model_defs.networks.audio import AudioNet, SpectrogramNet
from model_defs.networks.audio_svm import StatisticsNet
from model_defs.networks.audio_transformer import SpectrumTransformerNet
from model_defs.networks.video import FrameSequenceNet
from model_defs.networks.video_joint import JointFeatures


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """The model in eval mode with each batch norm folded into the convolution before it; the same function.

    A model that torch.fx cannot trace as a whole comes back unchanged, with a warning.
    """
    model = model.eval()
    if not holds_batch_norms(model):
        return model
    if isinstance(model, (StatisticsNet, SpectrumTransformerNet)):
        return model  # its batch norm follows no convolution
    if isinstance(model, FrameSequenceNet):
        fold_features(model)
    elif isinstance(model, (AudioNet, SpectrogramNet)):
        model.local = fuse(model.local)
    else:
        try:
            return fuse(model)
        except torch.fx.proxy.TraceError as error:
            warnings.warn(f"batch norms were not folded: {error}", stacklevel=2)
    return model


def fold_features(model: FrameSequenceNet) -> None:
    """Fold the batch norms of the features in place; a transformer, which torch.fx cannot trace, has none."""
    features = model.backbone.features
    if isinstance(features[0], JointFeatures):
        features[0].convolutions = fuse(features[0].convolutions)
    elif holds_batch_norms(features):
        model.backbone.features = fuse(features)


def holds_batch_norms(model: nn.Module) -> bool:
    """Whether there is anything to fold."""
    return any(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in model.modules())
