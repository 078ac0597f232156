"""Weight files: small ones to publish (safetensors, fp16) and training checkpoints (torch.save, fp32).

The large matrices of a transformer are published as int8, with a scale for each row beside them: half of fp16's room,
and no weight is off by more than 0.4 % of the largest in its row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from model_defs.networks.registry import build_network
from model_defs.networks.video_transformer import PatchTransformer
from model_defs.spec import spec_from_dict

_META_KEY = "deepdetect"  # one key only: the header's bytes then do not depend on an order of keys
REQUIRED_META = ("network", "spec")
_SCALE = ".int8_scale"  # of an int8 matrix, under its name and this
_PARTS = "parts"  # in the record: further files of the same weights, each with its SHA-256
MAX_FILE_BYTES = 60 * 2**20  # of one file; repositories refuse or slow down on larger ones
_N_LARGE = 2**18  # weights of a linear layer from which it is stored as int8


def save_weights(path: Path, net: nn.Module, meta: Mapping[str, object], half: bool = True) -> None:
    """Write the weights of `net` with their record; the same input gives the same bytes.

    Args:
        path: the .safetensors file to write.
        net: a network that `build_network(meta["network"])` made.
        meta: JSON values: `network` (a key of NETWORKS) and `spec` (`spec_to_dict`), and further
            labels, calibration, metrics, ...
        half: store matrices and kernels as fp16, and a transformer's large ones as int8. Biases and batch-norm
            statistics stay fp32: they are few, and variances may lie outside of what fp16 can hold.

    Raises:
        ValueError: the record is incomplete, or a weight is not finite (in fp16 where `half`).
    """
    _check_meta(meta, path)
    large = _large_matrices(net) if half else frozenset()
    state = {}
    for name, tensor in net.state_dict().items():
        if name in large:
            state[name], state[name + _SCALE] = _as_int8(name, tensor.detach().cpu())
        else:
            state[name] = _stored(name, tensor, half)
    write_state(Path(path), state, meta)


def write_state(path: Path, state: Mapping[str, Tensor], meta: Mapping[str, object]) -> None:
    """Write tensors as they are; what goes beyond `MAX_FILE_BYTES` into a second file beside the first."""
    kept, left, n_bytes = {}, {}, 0
    for name in sorted(state, key=lambda name: (-state[name].nbytes, name)):
        n_bytes += state[name].nbytes
        (kept if n_bytes < MAX_FILE_BYTES - 2**20 else left)[name] = state[name]  # a MiB for the header
    record = {key: value for key, value in meta.items() if key != _PARTS}
    second = path.with_name(f"{path.stem}-2{path.suffix}")
    if left:
        second.write_bytes(save(left))
        record[_PARTS] = {second.name: sha256_of(second)}
    else:
        second.unlink(missing_ok=True)
    path.write_bytes(save(kept, metadata={_META_KEY: json.dumps(record, sort_keys=True)}))


def load_weights(path: Path) -> tuple[nn.Module, dict]:
    """The network in a weight file, fp32 and in eval mode, with its record.

    Takes what `save_weights` writes and training checkpoints: a `torch.save` of
    {"network", "spec", "state", ...}; there the record is everything but "state".

    Raises:
        ValueError: the file is neither, or does not say which network and spec it holds.
        RuntimeError: a weight is missing, too many, or of another shape.
    """
    path = Path(path)
    state, meta = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    _check_meta(meta, path)
    spec_from_dict(meta["spec"])
    net = build_network(meta["network"])
    net.load_state_dict(_as_fp32(state))
    return net.eval(), meta


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if half and tensor.is_floating_point() and tensor.dim() > 1:
        tensor = tensor.half()
    if not torch.isfinite(tensor).all():
        raise ValueError(f"weight {name} is not finite as {tensor.dtype}; it cannot be saved")
    return tensor


def _large_matrices(net: nn.Module) -> frozenset[str]:
    """Names of the weights of a transformer's large linear layers."""
    return frozenset(
        f"{part}.{name}.weight"
        for part, transformer in net.named_modules()
        if isinstance(transformer, PatchTransformer)
        for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) and layer.weight.numel() >= _N_LARGE
    )


def _as_int8(name: str, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """int8 (n_out, n_in) and the scale of each row, fp32 (n_out,). What was stored so before comes out the same."""
    if not torch.isfinite(matrix).all():
        raise ValueError(f"weight {name} is not finite; it cannot be saved")
    scale = matrix.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (matrix / scale[:, None]).round().to(torch.int8).contiguous(), scale.contiguous()


def _as_fp32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor as the network takes it."""
    plain = {name: t.float() if t.is_floating_point() else t for name, t in state.items() if not name.endswith(_SCALE)}
    scales = {name.removesuffix(_SCALE): t for name, t in state.items() if name.endswith(_SCALE)}
    return plain | {name: plain[name].float() * scale[:, None] for name, scale in scales.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    with safe_open(path, framework="pt") as file:
        meta = json.loads((file.metadata() or {}).get(_META_KEY, "{}"))
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    for name, digest in meta.pop(_PARTS, {}).items():
        part = path.with_name(name)
        if not part.is_file() or sha256_of(part) != digest:
            raise ValueError(f"{part} is absent or not the part that {path.name} names; copy both files together")
        state |= load_file(part)
    return state, meta


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or "state" not in checkpoint:
        raise ValueError(f'{path} is not a training checkpoint: it has no "state"')
    return checkpoint["state"], {key: value for key, value in checkpoint.items() if key != "state"}


def _check_meta(meta: Mapping[str, object], path: Path) -> None:
    if absent := [key for key in REQUIRED_META if key not in meta]:
        raise ValueError(f"{path}: the record of the weights lacks {', '.join(absent)}")
