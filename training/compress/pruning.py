"""Magnitude pruning: the smallest weights become zero, and stay zero while the rest learns to do without them.

S. Han et al., "Learning both weights and connections for efficient neural networks" (NIPS 2015). Zeros make a
compressed file smaller. They make nothing faster: dense kernels multiply them like any other number.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import L1Unstructured

Scope = Literal["global", "layer"]
_PRUNED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.GRU, nn.LSTM)


def prune(model: nn.Module, amount: float, scope: Scope = "global") -> dict[str, Tensor]:
    """Set to zero, in place, the share `amount` of the weights with the smallest absolute value.

    Weights are the matrices and kernels of convolutions, recurrent and linear layers; biases and norms are left alone.

    Args:
        model: any network.
        amount: from 0 to below 1.
        scope: `global` compares all weights of the network, so that layers with small ones lose more;
            `layer` takes the share of each matrix and kernel.

    Returns:
        What was kept: for each pruned parameter, by name, a mask of its shape, 1 kept and 0 pruned.

    Raises:
        ValueError: the amount or the scope is not allowed.
    """
    if not 0 <= amount < 1:
        raise ValueError(f"pruning_amount is {amount}; it must be from 0 to below 1")
    if scope not in ("global", "layer"):
        raise ValueError(f"scope is {scope!r}; allowed: global, layer")
    weights = prunable(model)
    flat = {name: weight.detach().reshape(-1) for name, weight in weights.items()}
    if scope == "global" and flat:
        together = _mask(torch.cat(list(flat.values())), amount)
        masks = dict(zip(flat, together.split([len(values) for values in flat.values()]), strict=True))
    else:
        masks = {name: _mask(values, amount) for name, values in flat.items()}
    masks = {name: mask.reshape(weights[name].shape) for name, mask in masks.items()}
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].mul_(mask)
    return masks


def keep_pruned(model: nn.Module, masks: dict[str, Tensor]) -> list[torch.utils.hooks.RemovableHandle]:
    """Let no gradient reach a pruned weight, so that it stays zero in training; weight decay leaves zeros alone.

    Args:
        model: that `prune` was called on, where it is going to be trained.
        masks: what that returned.

    Returns:
        Handles whose `remove()` ends it.
    """
    weights = dict(model.named_parameters())
    handles = []
    for name, mask in masks.items():
        on_device = mask.to(weights[name].device)
        handles.append(weights[name].register_hook(lambda gradient, mask=on_device: gradient * mask))
    return handles


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices and kernels of convolutions, recurrent and linear layers, by name."""
    return {
        f"{prefix}.{name}".lstrip("."): parameter
        for prefix, layer in model.named_modules()
        if isinstance(layer, _PRUNED_LAYERS)
        for name, parameter in layer.named_parameters(recurse=False)
        if parameter.dim() > 1
    }


def _mask(values: Tensor, amount: float) -> Tensor:
    return L1Unstructured(amount).compute_mask(values, torch.ones_like(values))
