from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from model_defs.networks.video_transformer import PatchTransformer, TransformerBlock


@pytest.fixture(scope="module")
def net() -> PatchTransformer:
    torch.manual_seed(0)
    net = PatchTransformer(width=24, n_blocks=2, n_heads=3, size_px=48)
    torch.nn.init.normal_(net.class_position)
    return net.eval()


def test_gives_a_vector_for_each_patch_and_the_class_token_with_it(net: PatchTransformer) -> None:
    with torch.inference_mode():
        assert net(torch.randn(2, 3, 48, 48)).shape == (2, 48, 3, 3)
        maps = net(torch.randn(2, 3, 48, 48))
        assert maps[:, :24].std(dim=(2, 3)).min() > 0
        torch.testing.assert_close(maps[:, 24:], maps[:, 24:, :1, :1].expand(-1, -1, 3, 3))
        assert net(torch.randn(1, 3, 33, 64)).shape == (1, 48, 2, 4)  # what is no whole patch is left out


def test_scripted_it_does_the_same_at_every_size(net: PatchTransformer) -> None:
    scripted = torch.jit.freeze(torch.jit.script(net))
    with torch.inference_mode():
        for size_px in (48, 32):
            images = torch.randn(2, 3, size_px, size_px)
            torch.testing.assert_close(scripted(images), net(images), atol=1e-5, rtol=1e-4)


def test_patches_are_cut_as_a_convolution_would(net: PatchTransformer) -> None:
    """The order of weights is that of a 16x16 convolution, as every published vision transformer stores it."""
    kernel = net.patch.weight.unflatten(1, (3, 16, 16))
    images = torch.randn(1, 3, 48, 48)
    seen = []
    hook = net.patch.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.inference_mode():
        net(images)
        hook.remove()
        expected = functional.conv2d(images, kernel, stride=16).flatten(2).transpose(1, 2)
        torch.testing.assert_close(seen[0], expected, atol=1e-4, rtol=1e-3)


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(1)
    block = TransformerBlock(12, 3).eval()
    torch_layer = torch.nn.MultiheadAttention(12, 3, batch_first=True).eval()
    with torch.no_grad():
        torch_layer.in_proj_weight.copy_(block.qkv.weight)
        torch_layer.in_proj_bias.copy_(block.qkv.bias)
        torch_layer.out_proj.weight.copy_(block.proj.weight)
        torch_layer.out_proj.bias.copy_(block.proj.bias)
        tokens = torch.randn(2, 5, 12)
        read = block.norm1(tokens)
        attended = tokens + torch_layer(read, read, read, need_weights=False)[0]
        hidden = block.fc1(block.norm2(attended))
        expected = attended + block.fc2(hidden * torch.sigmoid(1.702 * hidden))
        torch.testing.assert_close(block(tokens), expected, atol=1e-5, rtol=1e-4)


def test_every_patch_may_change_every_other(net: PatchTransformer) -> None:
    images = torch.zeros(1, 3, 48, 48)
    changed = images.clone()
    changed[..., :16, :16] = 1.0
    with torch.inference_mode():
        moved = (net(changed) - net(images)).abs().amax(1)
    assert (moved > 1e-7).all()
