"""Int8 without data or an export: weights of recurrent and linear layers, activations quantized as they come."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.ao.quantization import default_dynamic_qconfig, per_channel_dynamic_qconfig, quantize_dynamic

LAYERS = {nn.LSTM: default_dynamic_qconfig, nn.GRU: default_dynamic_qconfig, nn.Linear: per_channel_dynamic_qconfig}


def has_quantizable(net: nn.Module) -> bool:
    """Whether `quantize_dynamically` would change anything."""
    return any(isinstance(module, tuple(LAYERS)) for module in net.modules())


def quantize_dynamically(net: nn.Module) -> nn.Module:
    """A copy whose LSTM, GRU and linear layers hold int8 weights; activations are quantized as they come."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return quantize_dynamic(net.cpu().eval(), LAYERS, dtype=torch.qint8)
