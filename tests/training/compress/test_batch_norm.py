from __future__ import annotations

import pytest
import torch
from torch import nn

from training.compress.batch_norm import recalibrate


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4)
    )


def test_statistics_are_those_of_the_data() -> None:
    net, batches = _net(), [torch.randn(16, 3, 12, 12) * 3 + 1 for _ in range(5)]
    net[1].running_mean.fill_(7)
    assert recalibrate(net, batches) == 2
    with torch.no_grad():
        maps = [net[0](batch) for batch in batches]
    mean = torch.cat(maps).mean(dim=(0, 2, 3))
    variance = torch.stack([one.var(dim=(0, 2, 3)) for one in maps]).mean(dim=0)
    torch.testing.assert_close(net[1].running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net[1].running_var, variance, rtol=1e-4, atol=1e-5)


def test_dropout_does_not_disturb_it_and_weights_and_modes_stay() -> None:
    net, batches = _net(), [torch.randn(16, 3, 12, 12)]
    weights = {name: value.clone() for name, value in net.named_parameters()}
    net.train()
    recalibrate(net, batches)
    first = net[5].running_var.clone()
    recalibrate(net, batches)
    torch.testing.assert_close(net[5].running_var, first, rtol=0, atol=0)
    assert not any(module.training for module in net.modules())
    assert net[1].momentum == 0.1
    assert all(torch.equal(value, weights[name]) for name, value in net.named_parameters())


def test_data_are_needed() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        recalibrate(_net(), [])
