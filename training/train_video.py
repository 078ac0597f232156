"""Train a video network on labelled clips.

python -m training.train_video --dataset clips/ --epochs 20 --batch-size 4 --lr 0.0001 --device cuda
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from model_defs.networks.registry import build_network
from model_defs.networks.weights import load_weights
from training.run.config import VideoModel, input_spec, video_parser, video_training
from training.run.lifecycle import Prepared, command, train
from training.run.options import OptionsParser, Settings
from training.tasks.frame_net import load_backbone
from training.tasks.video import VideoTask

EPILOG = """examples:
  the classic form, with ImageNet weights where they can be downloaded:
    %(prog)s --dataset clips/ --save-path runs/video/model.pt --epochs 20 --batch-size 4 --lr 0.0001
  from a local backbone file, on two CPU cores, with face pictures as further one-frame clips:
    %(prog)s --dataset clips/ --extra-dataset faces/ --backbone-weights b0.pth --train-px 160 --device cpu
  a preset, and what it sets otherwise; whatever a preset can say the command line can, and the other way round:
    %(prog)s --config mobilenet_v2_lstm --dataset clips/ --epochs 10
    %(prog)s --config video --show-config
  on two GPUs of one machine:
    torchrun --nproc-per-node 2 -m training.train_video --config video --dataset clips/
  after an interruption, the same command with --resume; a finished run goes on with --resume and more --epochs.

What a run leaves beside --save-path, which is the best epoch by validation AUC: .last.pt (to resume), .config.yaml
(the settings), .history.json and .history.png, .tensorboard/, and in .exported/ the TorchScript artifacts, the
evaluation and the model card.
"""
DEFAULTS = {"epochs": 20, "lr": 2e-4, "head_lr_factor": 3.0, "batch_size": 8}


def options() -> OptionsParser:
    """The options of this script."""
    return video_parser("train_video", VideoModel, DEFAULTS, description=__doc__.split("\n\n")[0], epilog=EPILOG)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train as the arguments say; returns the path of the best checkpoint."""
    settings = options().settings(argv)
    spec = input_spec(settings)

    def make_task(train_clips: Prepared, val_clips: Prepared, device: str) -> tuple[nn.Module, VideoTask]:
        training = video_training(settings, spec, device)
        return _network(settings), VideoTask(settings["network"], spec, train_clips, val_clips, training)

    return train(settings, spec, make_task)


def _network(settings: Settings) -> nn.Module:
    if settings["init"]:
        net = load_weights(settings["init"])[0]
    elif settings["init_backbone"]:
        net = build_network(settings["network"])
        load_backbone(net, settings["init_backbone"])
    else:
        net = build_network(settings["network"], settings["backbone_weights"], settings["allow_random"])
    net.backbone.requires_grad_(not settings["freeze_backbone"])
    return net


if __name__ == "__main__":
    command(main)
