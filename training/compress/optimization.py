"""Making a model ready to deploy, in memory, without data; and its size and speed.

`training.export` writes the files that are served. This is the short way for a model at hand:

    optimized = optimize_model_for_deployment(model, quantize=True, prune=False, pruning_amount=0.2)
    ModelOptimizer(optimized).get_model_size()["total_size_mb"]
"""

from __future__ import annotations

import copy
import io
import statistics
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from model_defs.networks.dynamic_int8 import quantize_dynamically
from training.compress.pruning import prune as prune_weights
from training.exporting.folding import fold_batch_norms
from training.exporting.measurement import interleaved_ms

BYTES_PER_MB = 2**20


def optimize_model_for_deployment(
    model: nn.Module, quantize: bool = True, prune: bool = False, pruning_amount: float = 0.2
) -> nn.Module:
    """A copy of `model` for inference: eval mode, no gradients, batch norms folded into their convolutions.

    Args:
        model: a network; it is left as it is.
        quantize: int8 weights for LSTM, GRU and linear layers; the result runs on the CPU. Int8
            convolutions need calibration data: see `training.exporting.quantization.quantize_int8`.
        prune: set the smallest weights to zero before; see `training.compress.pruning`, which also trains afterwards.
        pruning_amount: their share, from 0 to below 1.

    Raises:
        ValueError: `pruning_amount` is out of range.
    """
    optimized = copy.deepcopy(model).eval()
    if prune:
        prune_weights(optimized, pruning_amount)
    optimized = fold_batch_norms(optimized).requires_grad_(False)
    return quantize_dynamically(optimized) if quantize else optimized


class ModelOptimizer:
    """Size and speed of a model, scripted or not."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval()

    def get_model_size(self) -> dict[str, float]:
        """Sizes in MB of 2**20 bytes.

        Returns:
            `total_size_mb`, as saved to a file, which counts quantized weights at their size;
            `n_parameters` and `param_size_mb`, of float parameters only (torch holds quantized weights
            apart from them); `buffer_size_mb`, such as batch-norm statistics.
        """
        stored = io.BytesIO()
        if isinstance(self.model, torch.jit.ScriptModule):
            torch.jit.save(self.model, stored)
        else:
            torch.save(self.model.state_dict(), stored)
        return {
            "total_size_mb": stored.tell() / BYTES_PER_MB,
            "n_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "param_size_mb": _n_bytes(self.model.parameters()) / BYTES_PER_MB,
            "buffer_size_mb": _n_bytes(self.model.buffers()) / BYTES_PER_MB,
        }

    def benchmark_inference(self, example: Tensor, n_runs: int = 100) -> dict[str, float]:
        """Time `n_runs` forward passes after three to warm up.

        Args:
            example: a batch, on the model's device.
            n_runs: at least 1.

        Returns:
            `avg_time_per_inference`, `median_time_per_inference` and `p95_time_per_inference` in seconds a batch;
            `throughput_per_s` in examples a second; `n_runs`.

        Raises:
            ValueError: `n_runs` is below 1.
        """
        if n_runs < 1:
            raise ValueError(f"n_runs is {n_runs}; it must be at least 1")

        def run() -> None:
            self.model(example)
            if example.is_cuda:
                torch.cuda.synchronize(example.device)

        with torch.inference_mode():
            times_s = sorted(ms / 1e3 for ms in interleaved_ms({"model": run}, n_runs)["model"])
        mean_s = statistics.fmean(times_s)
        return {
            "avg_time_per_inference": mean_s,
            "median_time_per_inference": statistics.median(times_s),
            "p95_time_per_inference": times_s[min(n_runs - 1, int(0.95 * n_runs))],
            "throughput_per_s": len(example) / mean_s,
            "n_runs": n_runs,
        }


def _n_bytes(tensors: Iterator[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
