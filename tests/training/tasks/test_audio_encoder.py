"""Weights from DistillMOS's file do in our layers what they do in torch's."""

from __future__ import annotations

import pytest
import torch

from model_defs.networks.registry import build_network
from tests.training.distillmos import N_MODEL, Reference
from training.loop.checkpoint import RunError
from training.tasks import audio_encoder
from training.tasks.audio_encoder import load_distillmos


def test_the_layers_do_what_torchs_do(tmp_path, monkeypatch):
    reference = Reference()
    monkeypatch.setattr(audio_encoder, "SHA256", reference.save(tmp_path / "weights.pt"))
    net = build_network("spectrum_transformer").eval()
    load_distillmos(net, tmp_path / "weights.pt")
    spectrum = torch.randn(2, 40, 161, 2)
    with torch.inference_mode():
        steps = reference(spectrum, net.embed.places)
        found = net.statistics(spectrum.flatten(2))
    for index, layer in enumerate(steps):
        of_layer = found[:, 2 * N_MODEL * index :][:, : 2 * N_MODEL]
        torch.testing.assert_close(of_layer[:, :N_MODEL], layer.mean(1), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(
            of_layer[:, N_MODEL:], (layer.var(1, correction=0) + 1e-5).sqrt(), atol=1e-3, rtol=1e-3
        )


def test_another_file_is_refused(tmp_path):
    net = build_network("spectrum_transformer")
    with pytest.raises(RunError, match=r"distillmos 0\.9\.1"):
        load_distillmos(net, tmp_path / "absent.pt")
    (tmp_path / "other.pt").write_bytes(b"something else")
    with pytest.raises(RunError, match="SHA-256"):
        load_distillmos(net, tmp_path / "other.pt")
