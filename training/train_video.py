"""Train a video network on labelled clips.

python -m training.train_video --dataset clips/ --epochs 20 --batch-size 4 --lr 0.0001 --device cuda
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from model_defs.registry import NETWORKS, build_network
from model_defs.spec import VideoSpec
from model_defs.weights import load_weights
from training.arguments import prepared_splits, report, resolve_device, training_parser
from training.engine import TrainConfig, fit, seed_everything
from training.frame_net import load_backbone
from training.video_task import VideoTask, VideoTraining

EPILOG = """examples:
  the classic form, with ImageNet weights where they can be downloaded:
    %(prog)s --dataset clips/ --save-path runs/video/model.pt --epochs 20 --batch-size 4 --lr 0.0001
  from a local backbone file, on two CPU cores, with face pictures as further one-frame clips:
    %(prog)s --dataset clips/ --extra-dataset faces/ --backbone-weights b0.pth --train-px 160 --device cpu
  after an interruption, the same command with --resume.

The best epoch by validation AUC is kept at --save-path, the last one beside it as .last.pt,
the figures of each epoch as .history.json and .history.png. Publish the result with `python -m training.publish`.
"""


def main(argv: Sequence[str] | None = None) -> Path:
    """Train as the arguments say; returns the path of the best checkpoint."""
    networks = [name for name, network in NETWORKS.items() if network.modality == "video"]
    parser = training_parser("train_video", __doc__.split("\n\n")[0], EPILOG, networks)
    add_video_arguments(parser)
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data")
    parser.add_argument("--batch-size", type=int, default=8, help="clips in one step")
    parser.add_argument("--train-frames", type=int, default=4, help="frames of a clip in training")
    parser.add_argument("--lr", type=float, default=2e-4, help="peak rate of the backbone")
    parser.add_argument("--head-lr-factor", type=float, default=3.0, help="the rest learns so much faster")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", type=Path, help="start from this checkpoint of the same network")
    start.add_argument("--init-backbone", type=Path, help="start from a backbone that training.pretrain_frames left")
    parser.add_argument("--freeze-backbone", action="store_true", help="train the rest alone, which is quick")
    arguments = parser.parse_args(argv)
    spec = video_spec(arguments)
    device = resolve_device(arguments.device)
    train, val = prepared_splits(arguments, spec)
    seed_everything(arguments.seed)
    net = _network(arguments)
    task = VideoTask(arguments.network, spec, train, val, video_training(arguments, spec, device))
    config = TrainConfig(
        epochs=arguments.epochs,
        lr=arguments.lr,
        head_lr_factor=arguments.head_lr_factor,
        seed=arguments.seed,
        device=device,
    )
    fit(net, task, config, arguments.save_path, resume=arguments.resume)
    report(arguments.save_path, val, device)
    return arguments.save_path


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that training on clips and pre-training on frames share."""
    parser.add_argument(
        "--backbone-weights", default="imagenet", help="imagenet, none, or a file with torchvision's keys"
    )
    parser.add_argument(
        "--allow-random", action="store_true", help="start from random weights where those cannot be had"
    )
    parser.add_argument("--size-px", type=int, help="side of the crops, in training and serving; default: 224")
    parser.add_argument("--train-px", type=int, help="side of the crops in training alone; default: that of serving")
    parser.add_argument("--face-margin", type=float, help="of the crop, as InputSpec; default: the network's own")
    parser.add_argument("--freeze-batch-norm", action="store_true", help="keep the statistics of the backbone")
    parser.add_argument("--self-blended", type=float, default=0.35, help="share of pseudo-fakes")
    parser.add_argument("--picture-weight", type=float, default=0.2, help="draws of a picture for one of a clip")


def video_spec(arguments: argparse.Namespace) -> VideoSpec:
    """The network's input with what the arguments change of it."""
    changes = {name: getattr(arguments, name) for name in ("size_px", "face_margin")}
    return replace(
        NETWORKS[arguments.network].spec, **{name: value for name, value in changes.items() if value is not None}
    )


def video_training(arguments: argparse.Namespace, spec: VideoSpec, device: str) -> VideoTraining:
    """How the arguments want an epoch drawn and shown."""
    return VideoTraining(
        batch_size=arguments.batch_size,
        n_frames=arguments.train_frames,
        size_px=arguments.train_px or spec.size_px,
        picture_weight=arguments.picture_weight,
        freeze_batch_norm=arguments.freeze_batch_norm or arguments.freeze_backbone,
        self_blended_share=arguments.self_blended,
        n_workers=arguments.workers,
        seed=arguments.seed,
        device=device,
    )


def backbone_weights(arguments: argparse.Namespace) -> str | None:
    """What `build_network` is to load into the backbone."""
    return None if arguments.backbone_weights == "none" else arguments.backbone_weights


def _network(arguments: argparse.Namespace) -> nn.Module:
    if arguments.init:
        net = load_weights(arguments.init)[0]
    elif arguments.init_backbone:
        net = build_network(arguments.network)
        load_backbone(net, arguments.init_backbone)
    else:
        net = build_network(arguments.network, backbone_weights(arguments), arguments.allow_random)
    net.backbone.requires_grad_(not arguments.freeze_backbone)
    return net


if __name__ == "__main__":
    main()
