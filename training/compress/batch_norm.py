"""Batch-norm recalibration: the statistics of the layers' present input, where other weights left others behind."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)


def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> int:
    """Set every batch norm's mean and variance to their averages over real input, in place.

    As `torch.optim.swa_utils.update_bn`, but all other layers stay in eval mode: dropout and stochastic depth, which
    training switches on, would disturb what is measured. Useful after weights were pruned or averaged, which moves the
    activations, and before a network is used on other media than it was trained on.

    Args:
        net: any network; it is left in eval mode.
        batches: its inputs (B, T, ...), of equal size, since each counts alike; a norm needs some hundred values a
            channel, over batch, time and space.

    Returns:
        How many layers were set.

    Raises:
        ValueError: there was no batch.
    """
    norms = [module for module in net.eval().modules() if isinstance(module, _NORMS)]
    momenta = {norm: norm.momentum for norm in norms}
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    n_batches = 0
    try:
        with torch.no_grad():
            for inputs in batches:
                net(inputs)
                n_batches += 1
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        net.eval()
    if not n_batches:
        raise ValueError("recalibration needs at least one batch of inputs")
    return len(norms)
