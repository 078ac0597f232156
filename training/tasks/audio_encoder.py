"""A SpectrumTransformerNet that starts from DistillMOS's weights, which the package `distillmos` carries (MIT)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from model_defs.networks.audio_transformer import SpectrumTransformerNet
from training.loop.checkpoint import RunError

SHA256 = "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40"
NORM_EPS = 1e-5  # of its two batch norms before the projection
# What lies in a layer of its transformer, by our names.
LAYER_PARTS = {
    "queries.weight": "self_attn.in_proj_weight",
    "queries.bias": "self_attn.in_proj_bias",
    "mixed.weight": "self_attn.out_proj.weight",
    "mixed.bias": "self_attn.out_proj.bias",
    "norm_attended.weight": "norm1.weight",
    "norm_attended.bias": "norm1.bias",
    "widened.weight": "linear1.weight",
    "widened.bias": "linear1.bias",
    "narrowed.weight": "linear2.weight",
    "narrowed.bias": "linear2.bias",
    "norm.weight": "norm2.weight",
    "norm.bias": "norm2.bias",
}


def load_distillmos(net: SpectrumTransformerNet, path: Path) -> None:
    """Set everything but the classifier and the standardization; fewer layers than DistillMOS's take its first.

    Args:
        net: of DistillMOS's sizes.
        path: `distillmos/weights/distill_mos_v7.pt` of the package's version 0.9.1.

    Raises:
        RunError: the file is not there, or another.
    """
    if not path.is_file():
        raise RunError(
            f"{path} is not there; the package distillmos 0.9.1 carries it (make train-accurate installs it)"
        )
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise RunError(f"{path} is not the file of distillmos 0.9.1: its SHA-256 is {found}, and not {SHA256}")
    given = torch.load(path, map_location="cpu", weights_only=True)["model"]
    state = {name: value for name, value in net.state_dict().items() if name.startswith(("classifier", "standardize"))}
    state |= {name.removeprefix("cnn.cnn."): value for name, value in given.items() if name.startswith("cnn.cnn.")}
    state = {f"local.{name}" if name[0].isdigit() else name: value for name, value in state.items()}
    head = "transformer_pool_attn."
    first = _scale_and_shift(given, f"{head}norm_input")
    second = _scale_and_shift(given, f"{head}transformer.norm")
    state["embed.scale"] = first[0] * second[0]
    state["embed.shift"] = first[1] * second[0] + second[1]
    for part in ("weight", "bias"):
        state[f"embed.projection.{part}"] = given[f"{head}transformer.linear_proj.{part}"]
    for index in range(len(net.layers)):
        for own, theirs in LAYER_PARTS.items():
            state[f"layers.{index}.{own}"] = given[f"{head}transformer.transformer_encoder.layers.{index}.{theirs}"]
    net.load_state_dict(state)


def _scale_and_shift(given: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """What a batch norm in eval mode does to each channel."""
    scale = given[f"{name}.weight"] / (given[f"{name}.running_var"] + NORM_EPS).sqrt()
    return scale, given[f"{name}.bias"] - given[f"{name}.running_mean"] * scale
