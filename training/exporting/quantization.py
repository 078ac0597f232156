"""Int8: static for the convolutions on pictures and spectrograms, dynamic for recurrent and linear layers.

Calibration runs once, on real input, and leaves one range an activation. Those ranges are published with
the weights, so that converting to int8 later needs no data and always gives the same bytes. Training that is aware
of quantization (`training.compress.quantize_aware`) keeps to the same ranges and ends in the same conversion.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.ao.quantization import (
    FakeQuantize,
    HistogramObserver,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    QConfig,
    QConfigMapping,
)
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.fx import GraphModule
from torchvision.models.efficientnet import MBConv
from torchvision.ops.misc import Conv2dNormActivation
from torchvision.ops.stochastic_depth import StochasticDepth

from model_defs.networks.dynamic_int8 import quantize_dynamically
from model_defs.networks.video_transformer import PatchTransformer

# On CPUs without VNNI two products of 8-bit values are added in 16 bits and saturate. One of the two factors
# has to give up a bit, and per-channel weights bear that better than SiLU's lopsided activations: on
# EfficientNet-B0 7-bit activations lose three times as much as 7-bit weights.
WEIGHT_LEVELS = {
    "dtype": torch.qint8,
    "qscheme": torch.per_channel_symmetric,
    "quant_min": -64,
    "quant_max": 63,
}

# SiLU(x) is within 0.015 of zero for x <= -6, so levels spent below are wasted. On EfficientNet-B0 this bound
# alone takes the relative error of the features from 0.41 to 0.12.
_SILU_FLOOR = -6.0
_NARROW = 24  # channels


def static_part(net: nn.Module) -> str | None:
    """The attribute that holds the network's two-dimensional convolutions, which int8 needs ranges for, if any.

    None beside a transformer: torch.fx traces none, most of the time is spent in its linear layers, and convolutions
    stay as they are.
    """
    if any(isinstance(module, PatchTransformer) for module in net.modules()):
        return None
    for name in ("backbone", "local"):
        if any(isinstance(module, nn.Conv2d) for module in getattr(net, name, nn.Identity()).modules()):
            return name
    return None


def calibrate(net: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Observe the activations of the network's convolutions on real input.

    Args:
        net: a network with a `static_part`.
        batches: the network's inputs (B, T, ...); some hundred frames or some ten windows in all are enough.

    Returns:
        For each quantized activation, by the name of its node in the traced part, its range (min, max).

    Raises:
        ValueError: the network has no such part, or there was no batch.
    """
    prepared = prepare_fx_part(net, HistogramObserver.with_args(reduce_range=False))
    observed, n_batches = with_part(net, prepared).eval(), 0
    with torch.inference_mode():
        for inputs in batches:
            observed(inputs)
            n_batches += 1
    if not n_batches:
        raise ValueError("calibration needs at least one batch of inputs")
    ranges = {}
    for name, observer, feeds_silu in _observers(prepared):
        low, high = range_of(observer, *observer.calculate_qparams())
        ranges[name] = torch.stack([low.clamp(min=_SILU_FLOOR) if feeds_silu else low, high]).float()
    return ranges


def range_of(observer: nn.Module, scale: Tensor, zero_point: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest value, float64 scalars, that an observer's levels stand for."""
    scale, zero_point = scale.double().squeeze(), zero_point.double().squeeze()
    return (observer.quant_min - zero_point) * scale, (observer.quant_max - zero_point) * scale


def quantize_int8(net: nn.Module, observer_state: dict[str, Tensor] | None = None) -> nn.Module:
    """An int8 copy of a network, for the CPU; `net` is left as it is.

    Args:
        net: any network of the registry.
        observer_state: what `calibrate` returned; needed where the network has a `static_part`.

    Raises:
        ValueError: the state is absent, or belongs to another network or another way of tracing it.
    """
    quantized = copy.deepcopy(net).cpu().eval()
    if static_part(quantized):
        if observer_state is None:
            raise ValueError("static int8 of convolutions needs the observer state that calibrate() returns")
        quantized = with_part(quantized, _convert(quantized, observer_state))
    return quantize_dynamically(quantized)


def with_part(net: nn.Module, part: nn.Module) -> nn.Module:
    """The same network, layers and parameters shared, with `part` in the place of its `static_part`."""
    changed = copy.copy(net)
    changed._modules = {**net._modules, static_part(net): part}
    return changed


def save_observer_state(path: Path, state: dict[str, Tensor]) -> None:
    """Write what `calibrate` returned; the same state gives the same bytes."""
    Path(path).write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}))


def load_observer_state(path: Path) -> dict[str, Tensor]:
    """What `save_observer_state` wrote."""
    return load_file(path)


def set_ranges(prepared: GraphModule, ranges: dict[str, Tensor]) -> None:
    """Give every observer of a prepared part its range.

    Raises:
        ValueError: the names are not those of the part.
    """
    observers = observers_by_name(prepared)
    if observers.keys() != ranges.keys():
        differing = sorted(observers.keys() ^ ranges.keys())
        raise ValueError(
            f"the observer state does not fit this network ({len(differing)} names differ, such as {differing[0]}); "
            "calibrate again with these versions of torch and torchvision"
        )
    for name, observer in observers.items():
        low, high = ranges[name]
        if isinstance(observer, FakeQuantize):
            observed = observer.activation_post_process
            observed.min_val, observed.max_val = low.clone(), high.clone()
            for kept, found in zip((observer.scale, observer.zero_point), observed.calculate_qparams(), strict=True):
                kept.copy_(found)
            observer.disable_observer()
        else:
            observer.min_val, observer.max_val = low.clone(), high.clone()


def observers_by_name(prepared: GraphModule) -> dict[str, nn.Module]:
    """The observers of a prepared part's activations, by the names that ranges are kept under."""
    return {name: observer for name, observer, _ in _observers(prepared)}


def prepare_fx_part(net: nn.Module, activation: object) -> GraphModule:
    """The network's static part with observers in it, in eval mode; its layers are copies.

    Raises:
        ValueError: the network has no such part.
    """
    part = copy.deepcopy(getattr(net, require_static_part(net))).cpu().eval()
    return trace_part(
        part, QConfig(activation=activation, weight=PerChannelMinMaxObserver.with_args(**WEIGHT_LEVELS)), prepare_fx
    )


def require_static_part(net: nn.Module) -> str:
    """`static_part`; raises ValueError where there is none."""
    if name := static_part(net):
        return name
    raise ValueError(f"{type(net).__name__} has no 2-D convolutions: its int8 form is dynamic and needs no calibration")


def trace_part(part: nn.Module, qconfig: QConfig, prepare: Callable[..., GraphModule]) -> GraphModule:
    """`prepare_fx` or `prepare_qat_fx` with the layers that stay float left out."""
    _drop_stochastic_depth(part)
    mapping = QConfigMapping().set_global(qconfig)
    for name in _float_modules(part):
        mapping.set_module_name(name, None)
    example = torch.zeros(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation, and that sigmoid stays float for want of fixed parameters
        return prepare(part, mapping, (example,))


def _convert(net: nn.Module, ranges: dict[str, Tensor]) -> GraphModule:
    prepared = prepare_fx_part(net, MinMaxObserver.with_args(reduce_range=False))
    set_ranges(prepared, ranges)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert_fx(prepared)


def _float_modules(part: nn.Module) -> Iterator[str]:
    """What int8 harms most and gains least by.

    That is the last pooling; the first convolution and the blocks of few channels at the largest maps, where one range
    has to do for all channels, and which cause nine tenths of the error of the logits (docs/compression.md); and beside
    SiLU the depthwise convolutions, which hold 5 % of EfficientNet's weights.
    """
    if hasattr(part, "pool"):
        yield "pool"
    if isinstance(part, nn.Sequential) and isinstance(part[0], nn.Conv2d):  # of a complex spectrum
        yield from ("0", "1")
    for name, block in part.named_modules():
        if isinstance(block, Conv2dNormActivation):
            conv = block[0]
            is_depthwise = conv.groups == conv.in_channels
            if conv.in_channels == 3 or (is_depthwise and isinstance(block[-1], nn.SiLU)):
                yield name
                yield f"{name}.0"
        elif isinstance(block, MBConv) and _is_narrow(block):
            yield from (f"{name}.{inner}".rstrip(".") for inner, _ in block.named_modules())


def _is_narrow(block: MBConv) -> bool:
    """Whether its input or output has `_NARROW` channels or fewer."""
    convolutions = [layer[0] for layer in block.block if isinstance(layer, Conv2dNormActivation)]
    return min(convolutions[0].in_channels, convolutions[-1].out_channels) <= _NARROW


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
        if isinstance(observer, (MinMaxObserver, HistogramObserver, FakeQuantize)) and observer not in seen:
            seen.add(observer)
            readers = [modules.get(str(user.target)) for user in node.users]
            yield node.args[0].name, observer, all(isinstance(reader, nn.SiLU) for reader in readers)
