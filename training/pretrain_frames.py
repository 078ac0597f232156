"""Train a video network's backbone on single frames.

    python -m training.pretrain_frames --dataset clips/ --extra-dataset faces/ --epochs 20

A batch of as many people as frames teaches a backbone more than one of few clips,
and pictures count as much as clips. With `--network efficientnet_b0_frames` the checkpoint is a whole network, and the
run ends as one of `training.train_video` does; with another go on with `training.train_video --init-backbone`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.video import FrameScoreNet
from model_defs.networks.weights import load_weights
from training.run.config import FramesModel, input_spec, video_parser, video_training
from training.run.lifecycle import Prepared, command, train
from training.run.options import OptionsParser
from training.tasks.video import VideoTask

EPILOG = """The last epoch is at <save path>.last.pt, the best by validation AUC at --save-path."""
DEFAULTS = {"epochs": 20, "lr": 3e-4, "head_lr_factor": 3.0, "batch_size": 32, "train_frames": 1}


def options() -> OptionsParser:
    """The options of this script."""
    return video_parser("pretrain_frames", FramesModel, DEFAULTS, description=__doc__.split("\n\n")[0], epilog=EPILOG)


def main(argv: Sequence[str] | None = None) -> Path:
    """Pre-train as the arguments say; returns the path of the best checkpoint."""
    settings = options().settings(argv)
    spec = input_spec(settings)
    is_whole = NETWORKS[settings["network"]].create is FrameScoreNet

    def make_task(train_clips: Prepared, val_clips: Prepared, device: str) -> tuple[nn.Module, VideoTask]:
        if settings["init"]:
            net = load_weights(settings["init"])[0]
        else:
            net = build_network(settings["network"], settings["backbone_weights"], settings["allow_random"])
        training = video_training(settings, spec, device)
        task = VideoTask(settings["network"], spec, train_clips, val_clips, training)
        if not is_whole:
            net = FrameScoreNet(net.backbone)
            task.record["stage"] = "frames"
        return net, task

    return train(settings, spec, make_task, is_whole=is_whole)


if __name__ == "__main__":
    command(main)
