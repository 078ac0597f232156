from __future__ import annotations

import pytest
import torch
from torchvision import models

from model_defs.networks.video_joint import JointFeatures
from model_defs.networks.video_transformer import PatchTransformer
from model_defs.preprocessing.video import video_tensor
from model_defs.spec import CLIP_MEAN, CLIP_STD, VideoSpec


@pytest.fixture(scope="module")
def net() -> JointFeatures:
    torch.manual_seed(0)
    transformer = PatchTransformer(width=24, n_blocks=1, n_heads=2, size_px=64)
    return JointFeatures(transformer, models.mobilenet_v2(weights=None).features).eval()


def test_each_backbone_sees_the_crops_as_it_would_alone(net: JointFeatures) -> None:
    crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8).numpy()
    as_clip, as_imagenet = (
        video_tensor(crops, spec)
        for spec in (VideoSpec(size_px=64, mean=CLIP_MEAN, std=CLIP_STD), VideoSpec(size_px=64))
    )
    with torch.inference_mode():
        averaged = net(as_clip).mean(dim=(2, 3))
        torch.testing.assert_close(averaged[:, :48], net.transformer(as_clip).mean(dim=(2, 3)), atol=1e-5, rtol=1e-4)
        expected = net.convolutions(as_imagenet).mean(dim=(2, 3))
        torch.testing.assert_close(averaged[:, 48:], expected, atol=1e-4, rtol=1e-3)


def test_scripted_and_frozen_it_does_the_same(net: JointFeatures) -> None:
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        found = torch.jit.freeze(torch.jit.script(net))(images)
        torch.testing.assert_close(found, net(images), atol=1e-4, rtol=1e-3)
    assert not any("gain" in name or "offset" in name for name in net.state_dict())  # constants, not weights
