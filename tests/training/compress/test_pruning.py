from __future__ import annotations

import pytest
import torch
from torch import nn

from model_defs.networks.registry import NETWORKS, build_network
from training.compress.pruning import keep_pruned, prunable, prune


@pytest.fixture
def uneven() -> nn.Module:
    """Two layers, the first with weights a hundredth as large."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 10))
    with torch.no_grad():
        model[0].weight.mul_(0.01)
    return model


def _zeros(weight: torch.Tensor) -> int:
    return int((weight == 0).sum())


def test_global_pruning_removes_the_smallest_weights_of_all_layers_together(uneven: nn.Module) -> None:
    before = [layer.weight.detach().clone() for layer in uneven]
    masks = prune(uneven, 0.5)
    after = [layer.weight for layer in uneven]
    assert sum(map(_zeros, after)) == 5_500
    assert _zeros(after[1]) < 100, "the layer with large weights keeps them"
    smallest_kept = min(weight[weight != 0].abs().min() for weight in after)
    assert max(old[new == 0].abs().max() for old, new in zip(before, after, strict=True)) <= smallest_kept
    assert {name: _zeros(mask) for name, mask in masks.items()} == {
        f"{index}.weight": _zeros(weight) for index, weight in enumerate(after)
    }


def test_pruning_by_layer_takes_the_same_share_of_each(uneven: nn.Module) -> None:
    prune(uneven, 0.3, "layer")
    assert [_zeros(layer.weight) for layer in uneven] == [3_000, 300]


@pytest.mark.parametrize("name", ["bands_cnn_gru", "efficientnet_lite0_early_frames"])
def test_share_is_exact_and_biases_and_norms_are_left_alone(name: str) -> None:
    net = build_network(name).eval()
    weights = prunable(net)
    others = {key: value.clone() for key, value in net.state_dict().items() if key not in weights}
    before = sum(_zeros(weight) for weight in weights.values())  # a new FrameScoreNet weighs all frames alike
    prune(net, 0.4)
    total = sum(weight.numel() for weight in weights.values())
    assert before < 0.4 * total
    assert sum(_zeros(weight) for weight in weights.values()) == round(0.4 * total)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in others.items())
    assert any("temporal" in key for key in weights) or NETWORKS[name].modality == "video"


def test_zeros_survive_training_and_the_rest_learns(uneven: nn.Module) -> None:
    masks = prune(uneven, 0.5)
    handles = keep_pruned(uneven, masks)
    optimizer = torch.optim.AdamW(uneven.parameters(), lr=0.1, weight_decay=0.1)
    before = uneven[1].weight.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        uneven(torch.randn(4, 100)).square().sum().backward()
        optimizer.step()
    for name, mask in masks.items():
        weight = uneven.get_parameter(name)
        assert torch.equal(weight != 0, mask.bool())
    assert not torch.equal(uneven[1].weight, before)
    for handle in handles:
        handle.remove()
    uneven(torch.randn(4, 100)).square().sum().backward()
    optimizer.step()
    assert _zeros(uneven[0].weight) < _zeros(masks["0.weight"])


def test_misuse_is_explained(uneven: nn.Module) -> None:
    for amount in (-0.1, 1.0):
        with pytest.raises(ValueError, match="from 0 to below 1"):
            prune(uneven, amount)
    with pytest.raises(ValueError, match="allowed: global, layer"):
        prune(uneven, 0.5, "channel")
