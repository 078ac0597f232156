from __future__ import annotations

import pytest
import torch
from torch import nn

from model_defs.networks.registry import build_network
from training.compress.optimization import ModelOptimizer, fold_batch_norms, optimize_model_for_deployment


@pytest.fixture
def trained() -> nn.Module:
    """A video network whose batch norms do something."""
    torch.manual_seed(0)
    net = build_network("mobilenet_v2_lstm").train()
    with torch.no_grad():
        net(torch.randn(2, 2, 3, 64, 64))
    return net.eval()


CLIP = torch.randn(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def _batch_norms(net: nn.Module) -> int:
    return sum(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in net.modules())


def test_folding_keeps_the_function_and_leaves_the_original(trained: nn.Module) -> None:
    optimized = optimize_model_for_deployment(trained, quantize=False)
    with torch.inference_mode():
        torch.testing.assert_close(optimized(CLIP)[0], trained(CLIP)[0], atol=1e-5, rtol=1e-4)
    assert _batch_norms(optimized) == 0
    assert _batch_norms(trained) > 0
    assert not any(parameter.requires_grad for parameter in optimized.parameters())
    assert all(parameter.requires_grad for parameter in trained.parameters())


def test_quantizing_shrinks_the_file_and_hardly_moves_the_answer() -> None:
    net, features = build_network("mfcc_bigru").eval(), torch.randn(1, 60, 120)
    optimized = optimize_model_for_deployment(net)
    with torch.inference_mode():
        torch.testing.assert_close(optimized(features)[0], net(features)[0], atol=0.02, rtol=0)
    sizes_mb = [ModelOptimizer(model).get_model_size()["total_size_mb"] for model in (optimized, net)]
    assert sizes_mb[0] < 0.3 * sizes_mb[1]


def test_pruned_video_networks_still_run(trained: nn.Module) -> None:
    optimized = optimize_model_for_deployment(trained, quantize=False, prune=True, pruning_amount=0.2)
    zeros = torch.cat([p.flatten() == 0 for p in optimized.backbone.parameters() if p.dim() == 4]).float().mean()
    assert zeros > 0.1
    with torch.inference_mode():
        assert torch.isfinite(optimized(CLIP)[0]).all()


@pytest.mark.parametrize("amount", [-0.1, 1.0])
def test_amounts_out_of_range_are_refused(amount: float) -> None:
    with pytest.raises(ValueError, match="from 0 to below 1"):
        optimize_model_for_deployment(nn.Linear(2, 2), prune=True, pruning_amount=amount)


def test_models_of_others_are_folded_where_they_can_be_traced() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.norm(values) if values.sum() > 0 else values

    assert _batch_norms(fold_batch_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))) == 0
    with pytest.warns(UserWarning, match="not folded"):
        assert _batch_norms(fold_batch_norms(Branching())) == 1


def test_sizes_add_up() -> None:
    model = nn.Sequential(nn.Linear(1024, 1024), nn.BatchNorm1d(1024))
    size = ModelOptimizer(model).get_model_size()
    assert size["n_parameters"] == 1024 * 1024 + 3 * 1024
    assert size["param_size_mb"] == pytest.approx(size["n_parameters"] * 4 / 2**20)
    assert size["total_size_mb"] == pytest.approx(size["param_size_mb"] + size["buffer_size_mb"], rel=0.01)
    assert ModelOptimizer(torch.jit.script(model)).get_model_size()["total_size_mb"] == pytest.approx(4, rel=0.05)


def test_benchmark_counts_runs_and_relates_its_figures() -> None:
    calls = []

    class Counting(nn.Linear):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            calls.append(torch.is_inference_mode_enabled())
            return super().forward(values)

    result = ModelOptimizer(Counting(8, 8)).benchmark_inference(torch.randn(4, 8), n_runs=20)
    assert len(calls) == 20 + 3
    assert all(calls)
    assert result["n_runs"] == 20
    assert 0 < result["median_time_per_inference"] <= result["p95_time_per_inference"]
    assert result["throughput_per_s"] == pytest.approx(4 / result["avg_time_per_inference"])
    with pytest.raises(ValueError, match="at least 1"):
        ModelOptimizer(nn.Linear(2, 2)).benchmark_inference(torch.zeros(1, 2), n_runs=0)
