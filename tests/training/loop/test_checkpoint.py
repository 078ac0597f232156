"""Weights of several checkpoints averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import load_weights, save_weights
from model_defs.spec import LABELS, spec_to_dict
from training.loop.checkpoint import RunError, average, write


def write_checkpoint(path: Path, network: str, factor: float, labels: tuple[str, ...] = LABELS) -> Path:
    torch.manual_seed(0)
    state = {
        name: t * factor if t.is_floating_point() else t for name, t in build_network(network).state_dict().items()
    }
    spec = spec_to_dict(NETWORKS[network].spec)
    torch.save({"network": network, "spec": spec, "labels": list(labels), "state": state}, path)
    return path


def test_each_checkpoint_counts_alike(tmp_path):
    paths = [write_checkpoint(tmp_path / f"{factor}.pt", "mfcc_gru_light", factor) for factor in (1.0, 2.0, 6.0)]
    write(average(paths), tmp_path / "mean.pt")
    net, record = load_weights(tmp_path / "mean.pt")
    assert record["network"] == "mfcc_gru_light"
    for name, tensor in load_weights(paths[0])[0].state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(net.state_dict()[name], 3.0 * tensor)


def test_published_weights_may_be_among_them(tmp_path):
    path = write_checkpoint(tmp_path / "one.pt", "mobilenet_v2_lstm", 1.0)
    net, record = load_weights(path)
    save_weights(tmp_path / "one.safetensors", net, {name: record[name] for name in ("network", "spec", "labels")})
    averaged = average([path, tmp_path / "one.safetensors"])
    assert averaged["spec"] == record["spec"]


def test_what_is_not_of_one_network_is_refused(tmp_path):
    one = write_checkpoint(tmp_path / "one.pt", "mfcc_gru_light", 1.0)
    with pytest.raises(RunError, match="at least two"):
        average([one])
    with pytest.raises(RunError, match=r"other.pt has another labels than .*one.pt"):
        average([one, write_checkpoint(tmp_path / "other.pt", "mfcc_gru_light", 1.0, labels=("fake", "real"))])
