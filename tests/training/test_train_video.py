"""The real script on tiny clips, with pictures beside them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from model_defs.registry import NETWORKS
from model_defs.weights import load_weights
from training.pretrain_frames import main as pretrain_frames
from training.train_video import main as train_video
from training.video_task import VideoTask, VideoTraining

from .conftest import write_dataset


def make_picture(index: int, label: int) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_script_trains_on_clips_and_pictures(video_dataset, tmp_path):
    pictures = write_dataset(tmp_path / "pictures", ".png", make_picture, n_train=4, n_val=0)
    manifest = pictures / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("person", "portrait"))
    path = tmp_path / "runs" / "model.pt"
    train_video(
        [
            *("--network", "video_light", "--backbone-weights", "none", "--train-px", "64", "--train-frames", "2"),
            *("--dataset", str(video_dataset), "--extra-dataset", str(pictures), "--cache", str(tmp_path / "cache")),
            *("--save-path", str(path), "--epochs", "2", "--batch-size", "2", "--workers", "0", "--device", "cpu"),
        ]
    )
    net, record = load_weights(path)
    assert record["network"] == "video_light"
    assert len(json.loads(path.with_suffix(".history.json").read_text())) == 2
    assert net(torch.zeros(1, 3, 3, 64, 64))[0].shape == (1, 2)


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm_keeps_its_statistics_if_told_to(freeze):
    training = VideoTraining(freeze_batch_norm=freeze)
    task = VideoTask("video_light", NETWORKS["video_light"].spec, [], [], training)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).eval()
    task.set_training(net)
    assert [module.training for module in net] == [True, not freeze, True]


def test_pretrained_backbone_is_taken_over_and_may_be_frozen(video_dataset, tmp_path):
    common = ["--network", "video_light", "--train-px", "64", "--dataset", str(video_dataset), "--workers", "0"]
    common += ["--cache", str(tmp_path / "cache"), "--epochs", "1", "--device", "cpu"]
    frames = pretrain_frames(
        [*common, "--backbone-weights", "none", "--batch-size", "4", "--save-path", str(tmp_path / "frames.pt")]
    )
    start = ["--init-backbone", str(frames), "--freeze-backbone", "--train-frames", "2"]
    clips = train_video([*common, *start, "--save-path", str(tmp_path / "clips.pt")])
    before = torch.load(frames, weights_only=True)["state"]
    after = torch.load(clips, weights_only=True)["state"]
    backbone = [name for name in before if name.startswith("backbone.")]
    assert backbone
    assert all(torch.equal(before[name], after[name]) for name in backbone)
