"""Frames are scored alone and averaged, in VideoNet's form."""

from __future__ import annotations

import pytest
import torch

from model_defs.backbones import create_backbone
from model_defs.registry import build_network
from training.frame_net import FrameNet, load_backbone


@pytest.fixture
def net() -> FrameNet:
    torch.manual_seed(0)
    return FrameNet(create_backbone("mobilenet_v2")).eval()


def test_clip_scores_the_mean_of_its_frames(net):
    clip = torch.randn(1, 3, 3, 64, 64)
    logits, attention = net(clip)
    alone, _ = net(clip.transpose(0, 1))
    torch.testing.assert_close(logits[0], alone.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention, torch.full((1, 3), 1 / 3))


def test_backbone_moves_to_a_video_network_and_no_other(net, tmp_path):
    path = tmp_path / "frames.pt"
    torch.save({"state": net.state_dict()}, path)
    video = build_network("video_light")
    load_backbone(video, path)
    for name, tensor in net.backbone.state_dict().items():
        assert torch.equal(video.backbone.state_dict()[name], tensor)
    with pytest.raises(RuntimeError):
        load_backbone(build_network("video"), path)
