"""Quantization-aware training: the weights learn to live with the rounding that int8 will do to them.

B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference"
(CVPR 2018): the forward pass rounds weights and activations as int8 does, gradients pass as if it did not.

The rounding is that of `training.exporting.quantization`: 7-bit weights by channel, 8-bit activations within the
ranges that `calibrate` finds. Ranges are found anew before each epoch until they are frozen, and then, with the
statistics of batch norm, stay as they are: the last epochs learn exactly what will be served. A run leaves ordinary
weights and their ranges, so publishing and exporting convert them as they convert any others.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.ao.nn.intrinsic.qat import freeze_bn_stats
from torch.ao.quantization import FakeQuantize, MinMaxObserver, MovingAveragePerChannelMinMaxObserver, QConfig
from torch.ao.quantization.quantize_fx import prepare_qat_fx

from training.evaluation.scores import Scores
from training.exporting.quantization import (
    WEIGHT_LEVELS,
    calibrate,
    observers_by_name,
    range_of,
    require_static_part,
    set_ranges,
    static_part,
    trace_part,
    with_part,
)
from training.loop.engine import Batches, Task

_QCONFIG = QConfig(
    activation=FakeQuantize.with_args(
        observer=MinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8, qscheme=torch.per_tensor_affine
    ),
    # The range of a weight is always that of its present values, as the conversion will find it.
    weight=FakeQuantize.with_args(
        observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, **WEIGHT_LEVELS
    ),
)


def make_aware(net: nn.Module, ranges: dict[str, Tensor]) -> nn.Module:
    """The network with its convolutions rounding as int8 does. It shares every parameter and statistic with `net`.

    Args:
        net: a network with 2-D convolutions; training the result trains it.
        ranges: of `training.exporting.quantization.calibrate`.

    Raises:
        ValueError: the network has none, or the ranges are of another one.
    """
    part = getattr(net.train(), require_static_part(net))
    prepared = trace_part(part, _QCONFIG, prepare_qat_fx)
    set_ranges(prepared, ranges)
    return with_part(net, prepared)


def ranges_in(aware: nn.Module) -> dict[str, Tensor]:
    """The activation ranges that an aware network rounds by, as `quantize_int8` takes them."""
    observers = observers_by_name(_part(aware))
    return {
        name: torch.stack(range_of(observer, observer.scale, observer.zero_point)).float().cpu()
        for name, observer in observers.items()
    }


class AwareTask:
    """A task whose network rounds; see `training.loop.engine.Task`.

    Args:
        task: batches and validation.
        net: with the weights of `aware`.
        aware: what is trained; see `make_aware`.
        inputs: real ones, which ranges are found on.
        n_free: epochs at whose beginning ranges are found anew and in which batch norm learns its statistics.
    """

    def __init__(self, task: Task, net: nn.Module, aware: nn.Module, inputs: Sequence[Tensor], n_free: int) -> None:
        self.task, self.net, self.aware, self.inputs, self.n_free = task, net, aware, inputs, n_free
        self.record = {**task.record, "quantization_aware": {"n_free": n_free}}

    def batches(self, epoch: int) -> Batches:
        if epoch < self.n_free:
            set_ranges(_part(self.aware), calibrate(copy.deepcopy(self.net).cpu().eval(), self.inputs))
        else:
            freeze_batch_norm(self.aware)
        return self.task.batches(epoch)

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        return self.task.validate(net, part)

    def set_training(self, net: nn.Module) -> None:
        self.task.set_training(net)


def freeze_batch_norm(aware: nn.Module) -> None:
    """From here on batch norm uses its statistics and no longer learns them, fused with a convolution or not."""
    aware.apply(freeze_bn_stats)
    for module in aware.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eval()


def _part(aware: nn.Module) -> torch.fx.GraphModule:
    return getattr(aware, static_part(aware))
