"""The artifacts that are served: one TorchScript file a variant, and a manifest beside them.

    <directory>/fp32.pt int8.pt fp16.pt manifest.json

Each .pt file carries its record (network, spec, labels, calibration, ...) as `_extra_files`, so that it
also stands alone. `training/export.py` writes them; the engine and the detector load them here.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model_defs.spec import InputSpec, spec_from_dict

RECORD_FILE = "deepdetect.json"  # inside the .pt file
MANIFEST_FILE = "manifest.json"
DEVICES = {"fp32": ("cpu", "cuda"), "int8": ("cpu",), "fp16": ("cuda",)}  # where each variant is meant to run
VARIANTS = tuple(DEVICES)
PARTS = ("feature_maps", "judge_maps")  # of a video network, where a variant keeps them: the backbone, and the rest


class ArtifactError(ValueError):
    """The artifact is damaged, incomplete, or cannot run on the device asked for."""


@dataclass(frozen=True)
class Output:
    """What a network says of a batch.

    Attributes:
        logits: (B, 2).
        attention: (B, T).
        distances: (B,) of `model_defs.networks.ood`; None where the model was published without one.
        frame_logits: (B, T, 2), of each frame as a clip by itself; None where the variant cannot be run in two parts.
    """

    logits: np.ndarray
    attention: np.ndarray
    distances: np.ndarray | None = None
    frame_logits: np.ndarray | None = None

    @property
    def segment_logits(self) -> np.ndarray | None:
        """Of the frames of the first clip, (T, 2)."""
        return None if self.frame_logits is None else self.frame_logits[0]

    def rows(self, start: int, end: int) -> Output:
        """Of the clips from `start` to before `end`."""
        values = (getattr(self, field.name) for field in fields(self))
        return Output(*(None if value is None else value[start:end] for value in values))


@dataclass(frozen=True)
class Artifact:
    """A network ready to run.

    Attributes:
        module: maps a batch to (logits (B, 2), attention (B, T)); with an OOD distance the logits have a third column.
        meta: the record: name, network, modality, labels, calibration, weights_sha256, ...
        spec: the input it expects.
        variant: `fp32`, `int8` or `fp16`.
        device: where the module lives, such as `cpu` or `cuda:0`.
    """

    module: nn.Module
    meta: dict
    spec: InputSpec
    variant: str
    device: str

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Run one batch.

        Args:
            batch: (B, T, ...) float32, as `video_tensor` or the audio front end gives it, on any device.

        Returns:
            logits (B, 2) and attention (B, T), float32 on the CPU.
        """
        return self.forward_with_distance(batch)[:2]

    def forward_with_distance(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """As `forward`, and the distance (B,) of `model_defs.networks.ood`; None where there is no distance."""
        with torch.inference_mode():
            scores, attention = self.module(self._to_device(batch))
            scores, attention = scores.float().cpu(), attention.float().cpu()
        return scores[:, :2], attention, scores[:, 2] if scores.shape[1] > 2 else None

    def judge(self, batch: Tensor) -> Output:
        """As `forward_with_distance`, and what each frame says by itself, where the network can be run in two parts.

        That costs no second pass: the frames are judged from the maps that the clip is judged from.
        """
        if not all(hasattr(self.module, part) for part in PARTS):
            logits, attention, distances = self.forward_with_distance(batch)
            return Output(logits.numpy(), attention.numpy(), None if distances is None else distances.numpy())
        with torch.inference_mode():
            maps = self.module.feature_maps(self._to_device(batch))
            scores, attention = self.module.judge_maps(maps)
            vectors = maps.mean((3, 4), keepdim=True)  # which is what the network does with them first
            of_frames, _ = self.module.judge_maps(vectors.flatten(0, 1).unsqueeze(1))
        scores, attention = scores.float().cpu().numpy(), attention.float().cpu().numpy()
        distances = scores[:, 2] if scores.shape[1] > 2 else None
        frames = of_frames.float().cpu().numpy().reshape(len(scores), -1, of_frames.shape[-1])[..., :2]
        return Output(scores[:, :2], attention, distances, frames)

    def _to_device(self, batch: Tensor) -> Tensor:
        dtype = torch.float16 if self.variant == "fp16" else torch.float32
        if batch.device.type == "cpu" and self.device != "cpu":
            batch = batch.pin_memory()  # from pageable memory a copy waits for the device, whatever is asked for
        # The device rounds to fp16: many times as quick as the CPU, to the same values.
        return batch.to(self.device, non_blocking=True).to(dtype)


def load_artifact(path: Path, device: str = "cpu", variant: str = "auto") -> Artifact:
    """Load an artifact directory, one TorchScript file of it, or plain weights.

    Args:
        path: the directory; a `.pt` artifact; or a training checkpoint or `.safetensors` file, which
            runs eagerly: as fp32 where nothing else is asked for, else reduced in memory. Int8 so leaves convolutions
            as they are, whose ranges an export has to measure; a network without other layers stays fp32, and says so.
        device: `cpu`, `cuda` or `cuda:<index>`.
        variant: `auto` takes what the manifest names for the device; int8 runs on the CPU only, fp16 on CUDA only.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ArtifactError: the variant is absent or not for this device, or a file does not match its digest.
    """
    path, kind = Path(path), torch.device(device).type
    if variant not in ("auto", *VARIANTS):
        raise ArtifactError(f"variant {variant!r} is unknown; allowed: auto, {', '.join(VARIANTS)}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ArtifactError(f"device {device!r} was asked for, but CUDA is not available here")
    if path.is_dir():
        return _load_directory(path, device, kind, variant)
    if not path.exists():
        raise FileNotFoundError(f"no model at {path}")
    if _is_torchscript(path):
        module, meta = load_torchscript(path.read_bytes(), path, device)
        if variant not in ("auto", meta["variant"]):
            raise ArtifactError(f"{path} is the {meta['variant']} variant, and {variant} was asked for")
        return _artifact(module, meta, meta["variant"], device)
    variant = "fp32" if variant == "auto" else variant
    if kind not in DEVICES[variant]:
        raise ArtifactError(f"variant {variant} runs on {' and '.join(DEVICES[variant])} only, not on {device!r}")
    from model_defs.networks.weights import (
        load_weights,  # and with it torchvision: seconds that no worker needs to spend
    )

    net, meta = load_weights(path)
    if variant == "int8":
        from model_defs.networks.dynamic_int8 import has_quantizable, quantize_dynamically

        net, variant = (quantize_dynamically(net), "int8") if has_quantizable(net) else (net, "fp32")
    return _artifact(net.half().to(device) if variant == "fp16" else net.to(device), meta, variant, device)


def read_manifest(directory: Path) -> dict:
    """The manifest of an artifact directory.

    Raises:
        ArtifactError: there is none, or it is not JSON.
    """
    path = Path(directory) / MANIFEST_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error


def _load_directory(directory: Path, device: str, kind: str, variant: str) -> Artifact:
    manifest = read_manifest(directory)
    if variant == "auto":
        variant = manifest["default_variant"].get(kind, "fp32")
    if variant not in manifest["variants"]:
        raise ArtifactError(f"{directory} has no variant {variant!r}; it has: {', '.join(manifest['variants'])}")
    entry = manifest["variants"][variant]
    path = directory / entry["file"]
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ArtifactError(f"{path} is not the file that the manifest describes: its SHA-256 differs")
    module, meta = load_torchscript(content, path, device)
    return _artifact(module, {**meta, **manifest}, variant, device)


def load_torchscript(content: bytes, path: Path, device: str) -> tuple[nn.Module, dict]:
    """The module and the record in the bytes of a `.pt` artifact; `path` is named in errors.

    Raises:
        ArtifactError: it is not TorchScript, or carries no record.
    """
    extra = {RECORD_FILE: ""}
    try:
        module = torch.jit.load(io.BytesIO(content), map_location=device, _extra_files=extra)
    except RuntimeError as error:
        raise ArtifactError(f"{path} cannot be loaded as TorchScript: {error}") from error
    if not extra[RECORD_FILE]:
        raise ArtifactError(f"{path} carries no {RECORD_FILE}: it was not written by training.export")
    return module, json.loads(extra[RECORD_FILE])


def _artifact(module: nn.Module, meta: dict, variant: str, device: str) -> Artifact:
    if torch.device(device).type not in DEVICES[variant]:
        raise ArtifactError(f"variant {variant} runs on {' and '.join(DEVICES[variant])} only, not on {device!r}")
    return Artifact(module.eval(), meta, spec_from_dict(meta["spec"]), variant, device)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
