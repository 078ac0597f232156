"""Artifacts of networks so small that a test can say what they answer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from model_defs.networks.artifact import MANIFEST_FILE
from model_defs.networks.registry import NETWORKS
from model_defs.spec import InputSpec, spec_to_dict
from training.exporting.variants import serialize

AUDIO_SPEC = replace(NETWORKS["mfcc_gru_light"].spec, hop_length=1024)
VIDEO_SPEC = replace(NETWORKS["mobilenet_v2_lstm"].spec, size_px=32, n_frames=4)


class SteadyNet(nn.Module):
    """Fake where the sound stays as it is: a tone does, noise does not."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        margin = 1.0 - x.std(dim=1).mean(dim=1)
        return torch.stack([-margin, margin], dim=1), torch.ones(x.shape[0], x.shape[1])


class BrightNet(nn.Module):
    """Fake where the picture is bright."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        margin = x.mean(dim=[1, 2, 3, 4])
        return torch.stack([-margin, margin], dim=1), torch.ones(x.shape[0], x.shape[1])


def write_artifact(folder: Path, net: nn.Module, spec: InputSpec, variants: tuple[str, ...]) -> Path:
    """An artifact directory as `training.export` lays it out; all variants hold the same network."""
    folder.mkdir(parents=True)
    record = {
        "name": spec.modality,
        "network": spec.modality,
        "modality": spec.modality,
        "spec": spec_to_dict(spec),
        "calibration": {"temperature": 2.0, "bias": 0.0, "threshold": 0.5},
        "weights_sha256": "0" * 64,
    }
    entries = {}
    for variant in variants:
        content = serialize(torch.jit.script(net.eval()), {**record, "variant": variant})
        (folder / f"{variant}.pt").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        entries[variant] = {"file": f"{variant}.pt", "sha256": digest, "size_bytes": len(content)}
    manifest = {**record, "default_variant": {"cpu": variants[-1]}, "variants": entries}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    return folder
