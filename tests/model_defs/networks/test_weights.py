from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from model_defs.networks import backbones, weights
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import load_weights, save_weights, sha256_of
from model_defs.spec import spec_to_dict

NAME = "mfcc_gru_light"
META = {"network": NAME, "spec": spec_to_dict(NETWORKS[NAME].spec), "metrics": {"eer": 0.25}}


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(3)
    return build_network(NAME).eval()


def test_fp16_storage_keeps_the_answer_and_the_record(tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, net, META)
    loaded, meta = load_weights(path)
    features = torch.randn(2, 60, 120)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(features)[0], net(features)[0], atol=1e-3, rtol=1e-2)
    assert meta == META
    assert not loaded.training
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
    n_parameters = sum(parameter.numel() for parameter in net.parameters())
    assert path.stat().st_size < 2.2 * n_parameters


def test_full_precision_storage_is_exact(tmp_path: Path, net: torch.nn.Module) -> None:
    save_weights(tmp_path / "model.safetensors", net, META, half=False)
    loaded, _ = load_weights(tmp_path / "model.safetensors")
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=0, rtol=0)


def test_the_same_weights_give_the_same_bytes(tmp_path: Path, net: torch.nn.Module) -> None:
    for name in ("a", "b"):
        save_weights(tmp_path / f"{name}.safetensors", net, dict(reversed(META.items())) if name == "b" else META)
    assert sha256_of(tmp_path / "a.safetensors") == sha256_of(tmp_path / "b.safetensors")


def test_a_training_checkpoint_loads_exactly(tmp_path: Path, net: torch.nn.Module) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({**META, "state": net.state_dict(), "epoch": 4}, path)
    loaded, meta = load_weights(path)
    assert meta["epoch"] == 4
    assert "state" not in meta
    torch.testing.assert_close(loaded.norm.weight, net.norm.weight, atol=0, rtol=0)


def test_too_large_for_fp16_is_refused(tmp_path: Path, net: torch.nn.Module) -> None:
    with torch.no_grad():
        net.classifier[0].weight[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"classifier.0.weight is not finite"):
        save_weights(tmp_path / "model.safetensors", net, META)


def test_weights_that_do_not_match_the_network_are_refused(tmp_path: Path, net: torch.nn.Module) -> None:
    state = net.state_dict()
    del state["norm.bias"]
    torch.save({**META, "state": state}, tmp_path / "checkpoint.pt")
    with pytest.raises(RuntimeError, match=r"norm\.bias"):
        load_weights(tmp_path / "checkpoint.pt")


def test_files_that_do_not_say_what_they_hold_are_refused(tmp_path: Path, net: torch.nn.Module) -> None:
    torch.save({"state": net.state_dict()}, tmp_path / "unnamed.pt")
    torch.save(net.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="lacks network, spec"):
        load_weights(tmp_path / "unnamed.pt")
    with pytest.raises(ValueError, match="not a training checkpoint"):
        load_weights(tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="lacks spec"):
        save_weights(tmp_path / "model.safetensors", net, {"network": NAME})


@pytest.fixture
def transformer(monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """A small one; the larger two of its matrices hold as many weights as the limit says."""
    monkeypatch.setattr(weights, "_N_LARGE", 64 * 256)
    monkeypatch.setattr(backbones.ClipViT, "sizes", {"width": 64, "n_blocks": 1, "n_heads": 2, "size_px": 32})
    monkeypatch.setitem(backbones._SOURCES, "clip_vit_b16", replace(backbones._SOURCES["clip_vit_b16"], n_features=128))
    torch.manual_seed(4)
    return build_network("clip_vit_b16_frames").eval()


def test_a_transformers_large_matrices_take_a_byte_a_weight(tmp_path: Path, transformer: torch.nn.Module) -> None:
    meta = {"network": "clip_vit_b16_frames", "spec": spec_to_dict(NETWORKS["clip_vit_b16_frames"].spec)}
    save_weights(tmp_path / "a.safetensors", transformer, meta)
    loaded, _ = load_weights(tmp_path / "a.safetensors")
    block, found = transformer.backbone.features[0].blocks[0], loaded.backbone.features[0].blocks[0]
    for name in ("fc1", "fc2"):
        expected, rounded = getattr(block, name).weight, getattr(found, name).weight
        bound = 0.5 / 127 * expected.abs().amax(dim=1, keepdim=True)
        assert (rounded - expected).abs().le(1.001 * bound).all()
        assert (rounded != expected).any()
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a dict
    assert kinds["backbone.features.0.blocks.0.fc1.weight"] == "I8"
    assert kinds["backbone.features.0.blocks.0.proj.weight"] == "F16"
    save_weights(tmp_path / "b.safetensors", loaded, meta)
    assert sha256_of(tmp_path / "a.safetensors") == sha256_of(tmp_path / "b.safetensors")


def test_more_than_a_file_may_hold_goes_into_a_second_one(
    tmp_path: Path, net: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, second = tmp_path / "model.safetensors", tmp_path / "model-2.safetensors"
    monkeypatch.setattr(weights, "MAX_FILE_BYTES", 2**20 + 2**19)
    save_weights(path, net, META)
    assert max(path.stat().st_size, second.stat().st_size) < weights.MAX_FILE_BYTES
    loaded, meta = load_weights(path)
    assert meta == META
    torch.testing.assert_close(loaded.norm.weight, net.norm.weight, atol=0, rtol=0)
    digest = sha256_of(path)
    second.write_bytes(second.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="copy both files together"):
        load_weights(path)
    save_weights(path, net, META)
    assert sha256_of(path) == digest
    monkeypatch.setattr(weights, "MAX_FILE_BYTES", 2**30)
    save_weights(path, net, META)
    assert not second.exists()
