"""Post-training int8: static for the image backbone, dynamic for recurrent and linear layers.

Calibration runs once, on real crops, and leaves one range an activation. Those ranges are published with
the weights, so that converting to int8 later needs no data and always gives the same bytes.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.ao.quantization import (
    HistogramObserver,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    QConfig,
    QConfigMapping,
    default_dynamic_qconfig,
    per_channel_dynamic_qconfig,
    quantize_dynamic,
)
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.fx import GraphModule
from torchvision.ops.misc import Conv2dNormActivation
from torchvision.ops.stochastic_depth import StochasticDepth

# On CPUs without VNNI two products of 8-bit values are added in 16 bits and saturate. One of the two factors
# has to give up a bit, and per-channel weights bear that better than SiLU's lopsided activations: on
# EfficientNet-B0 7-bit activations lose three times as much as 7-bit weights.
_WEIGHT = PerChannelMinMaxObserver.with_args(
    dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-64, quant_max=63
)

# SiLU(x) is within 0.015 of zero for x <= -6, so levels spent below are wasted. On EfficientNet-B0 this bound
# alone takes the relative error of the features from 0.41 to 0.12.
_SILU_FLOOR = -6.0


def calibrate(net: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Observe the backbone's activations on real input.

    Args:
        net: a VideoNet.
        batches: clips (B, T, 3, H, W) as `video_tensor` gives them; some hundred frames in all are enough.

    Returns:
        For each quantized activation, by the name of its node in the traced backbone, its range (min, max).

    Raises:
        ValueError: the network has no image backbone, or there was no batch.
    """
    if not hasattr(net, "backbone"):
        raise ValueError(
            f"{type(net).__name__} has no image backbone: its int8 form is dynamic and needs no calibration"
        )
    prepared = _prepare(net.backbone, HistogramObserver.with_args(reduce_range=False))
    n_batches = 0
    with torch.inference_mode():
        for clips in batches:
            prepared(clips.flatten(0, 1).contiguous(memory_format=torch.channels_last))
            n_batches += 1
    if not n_batches:
        raise ValueError("calibration needs at least one batch of clips")
    ranges = {}
    for name, observer, feeds_silu in _observers(prepared):
        scale, zero_point = (value.double() for value in observer.calculate_qparams())
        low, high = (observer.quant_min - zero_point) * scale, (observer.quant_max - zero_point) * scale
        low = low.clamp(min=_SILU_FLOOR) if feeds_silu else low
        ranges[name] = torch.cat([low.view(1), high.view(1)]).float()
    return ranges


def quantize_int8(net: nn.Module, observer_state: dict[str, Tensor] | None = None) -> nn.Module:
    """An int8 copy of a network, for the CPU; `net` is left as it is.

    Args:
        net: a VideoNet or AudioNet.
        observer_state: what `calibrate` returned; needed where the network has an image backbone.

    Raises:
        ValueError: the state is absent, or belongs to another backbone or another way of tracing it.
    """
    quantized = copy.deepcopy(net).cpu().eval()
    if hasattr(quantized, "backbone"):
        if observer_state is None:
            raise ValueError("static int8 of an image backbone needs the observer state that calibrate() returns")
        quantized.backbone = _convert(quantized.backbone, observer_state)
    return quantize_dynamically(quantized)


def quantize_dynamically(net: nn.Module) -> nn.Module:
    """A copy whose LSTM, GRU and linear layers hold int8 weights; activations are quantized as they come."""
    spec = {nn.LSTM: default_dynamic_qconfig, nn.GRU: default_dynamic_qconfig, nn.Linear: per_channel_dynamic_qconfig}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return quantize_dynamic(net.cpu().eval(), spec, dtype=torch.qint8)


def save_observer_state(path: Path, state: dict[str, Tensor]) -> None:
    """Write what `calibrate` returned; the same state gives the same bytes."""
    Path(path).write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}))


def load_observer_state(path: Path) -> dict[str, Tensor]:
    """What `save_observer_state` wrote."""
    return load_file(path)


def _convert(backbone: nn.Module, ranges: dict[str, Tensor]) -> GraphModule:
    prepared = _prepare(backbone, MinMaxObserver.with_args(reduce_range=False))
    observers = {name: observer for name, observer, _ in _observers(prepared)}
    if observers.keys() != ranges.keys():
        differing = sorted(observers.keys() ^ ranges.keys())
        raise ValueError(
            f"the observer state does not fit this backbone ({len(differing)} names differ, such as {differing[0]}); "
            "calibrate again with these versions of torch and torchvision"
        )
    for name, observer in observers.items():
        observer.min_val, observer.max_val = ranges[name][0].clone(), ranges[name][1].clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert_fx(prepared)


def _prepare(backbone: nn.Module, activation: object) -> GraphModule:
    backbone = copy.deepcopy(backbone).cpu().eval()
    _drop_stochastic_depth(backbone)
    mapping = QConfigMapping().set_global(QConfig(activation=activation, weight=_WEIGHT))
    for name in _float_modules(backbone):
        mapping.set_module_name(name, None)
    example = torch.zeros(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation, and that sigmoid stays float for want of fixed parameters
        return prepare_fx(backbone, mapping, (example,))


def _float_modules(backbone: nn.Module) -> Iterator[str]:
    """What int8 harms most and gains least by: the last pooling, and beside SiLU the first and the depthwise
    convolutions, which hold 5 % of EfficientNet's weights and cause most of its error."""
    yield "pool"
    for name, block in backbone.named_modules():
        if isinstance(block, Conv2dNormActivation) and isinstance(block[-1], nn.SiLU):
            conv = block[0]
            if conv.in_channels == 3 or conv.groups == conv.in_channels:
                yield name
                yield f"{name}.0"


def _drop_stochastic_depth(module: nn.Module) -> None:
    """Replaced by identity, as which it acts in evaluation: the tracer would make it an unknown float operation."""
    for name, child in module.named_children():
        if isinstance(child, StochasticDepth):
            setattr(module, name, nn.Identity())
        else:
            _drop_stochastic_depth(child)


def _observers(prepared: GraphModule) -> Iterator[tuple[str, MinMaxObserver | HistogramObserver, bool]]:
    """(name of the observed node, its observer, whether only SiLUs read it), each observer once."""
    modules = dict(prepared.named_modules())
    seen = set()
    for node in prepared.graph.nodes:
        observer = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(observer, (MinMaxObserver, HistogramObserver)) and observer not in seen:
            seen.add(observer)
            readers = [modules.get(str(user.target)) for user in node.users]
            yield node.args[0].name, observer, all(isinstance(reader, nn.SiLU) for reader in readers)
