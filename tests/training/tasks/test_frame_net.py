"""A backbone trained on frames goes into a network over time."""

from __future__ import annotations

import pytest
import torch

from model_defs.networks.backbones import create_backbone
from model_defs.networks.registry import build_network
from model_defs.networks.video import FrameScoreNet
from training.tasks.frame_net import load_backbone


def test_backbone_moves_to_a_video_network_and_no_other(tmp_path):
    torch.manual_seed(0)
    net = FrameScoreNet(create_backbone("mobilenet_v2")).eval()
    path = tmp_path / "frames.pt"
    torch.save({"state": net.state_dict()}, path)
    video = build_network("mobilenet_v2_lstm")
    load_backbone(video, path)
    for name, tensor in net.backbone.state_dict().items():
        assert torch.equal(video.backbone.state_dict()[name], tensor)
    with pytest.raises(RuntimeError):
        load_backbone(build_network("efficientnet_b0_bilstm"), path)
