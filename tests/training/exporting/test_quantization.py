from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model_defs.networks.registry import build_network
from training.exporting.quantization import calibrate, load_observer_state, quantize_int8, save_observer_state
from training.exporting.variants import script


@pytest.fixture(scope="module")
def clips() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(4, 2 * 3, 6, 6, generator=generator)
    images = nn.functional.interpolate(coarse, size=64, mode="bilinear")
    return [clip.view(1, 2, 3, 64, 64) for clip in images]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """EfficientNet-B0, with batch-norm statistics that fit its input, as training leaves them."""
    torch.manual_seed(0)
    net = build_network("efficientnet_b0_bilstm").train()
    with torch.no_grad():
        for _ in range(12):
            net(torch.randn(4, 2, 3, 64, 64))
    return net.eval()


@pytest.fixture(scope="module")
def state(net: nn.Module, clips: list[Tensor]) -> dict[str, Tensor]:
    return calibrate(net, clips)


def _modules(net: nn.Module) -> list[str]:
    return [type(module).__module__ for module in net.modules()]


def test_ranges_hold_zero_and_spend_nothing_far_below_silu(net: nn.Module, clips: list[Tensor]) -> None:
    loud = copy.deepcopy(net)
    with torch.no_grad():
        for block in ("3.1.block.0.1", "3.1.block.3.1"):  # the norm before a SiLU, and one before no activation
            loud.backbone.features.get_submodule(block).weight.mul_(50)
    ranges = calibrate(loud, clips)
    for low, high in ranges.values():
        assert low <= 0 <= high
        assert low < high
    assert ranges["features_3_1_block_0_0"][0] == -6
    assert ranges["features_3_1_block_3_0"][0] < -6


def test_int8_follows_the_float_network(net: nn.Module, state: dict[str, Tensor], clips: list[Tensor]) -> None:
    quantized = quantize_int8(net, state)
    with torch.inference_mode():
        for clip in clips:
            expected, found = net.backbone(clip[0]), quantized.backbone(clip[0])
            assert nn.functional.cosine_similarity(found, expected).min() > 0.95
            torch.testing.assert_close(quantized(clip)[0], net(clip)[0], atol=0.05, rtol=0)


def test_pointwise_convolutions_and_recurrent_layers_are_int8_depthwise_and_narrow_ones_float(
    net: nn.Module, state: dict[str, Tensor]
) -> None:
    quantized = quantize_int8(net, state)
    block = quantized.backbone.features.get_submodule("3.1.block")
    assert "quantized" in type(block.get_submodule("0.0")).__module__
    assert type(block.get_submodule("1.0")) is nn.Conv2d
    for narrow in ("0", "1.0", "2.1", "3.0"):
        assert not any("quantized" in name for name in _modules(quantized.backbone.features.get_submodule(narrow)))
    assert "quantized" in type(quantized.temporal).__module__
    assert all("quantized" in type(layer).__module__ for layer in (quantized.classifier[0], quantized.projection[0]))
    assert not any("quantized" in name for name in _modules(net)), "the original is left as it was"


def test_weights_give_up_the_bit_that_keeps_sums_from_saturating(net: nn.Module, state: dict[str, Tensor]) -> None:
    weight = quantize_int8(net, state).backbone.features.get_submodule("3.1.block.0.0").weight()
    assert weight.qscheme() == torch.per_channel_affine
    assert weight.int_repr().abs().max() <= 64


def test_the_stored_state_gives_the_same_network(
    tmp_path: Path, net: nn.Module, state: dict[str, Tensor], clips: list[Tensor]
) -> None:
    save_observer_state(tmp_path / "a.safetensors", state)
    save_observer_state(tmp_path / "b.safetensors", dict(reversed(state.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    reloaded = quantize_int8(net, load_observer_state(tmp_path / "a.safetensors"))
    with torch.inference_mode():
        expected, found = quantize_int8(net, state)(clips[0])[0], script(reloaded)(clips[0])[0]
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_audio_needs_no_calibration() -> None:
    net, features = build_network("mfcc_bigru").eval(), torch.randn(2, 60, 120)
    with torch.inference_mode():
        found = script(quantize_int8(net))(features)[0]
        torch.testing.assert_close(found, net(features)[0], atol=0.02, rtol=0)


def test_misuse_is_explained(net: nn.Module, state: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="needs no calibration"):
        calibrate(build_network("mfcc_gru_light"), [])
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate(net, [])
    with pytest.raises(ValueError, match="observer state"):
        quantize_int8(net)
    with pytest.raises(ValueError, match="calibrate again"):
        quantize_int8(net, {name: value for name, value in state.items() if "features_8" not in name})
