"""Train a video network's backbone on single frames.

    python -m training.pretrain_frames --dataset clips/ --extra-dataset faces/ --epochs 20

A batch of as many people as frames teaches a backbone more than one of few clips,
and pictures count as much as clips. With `--network video_frames` the checkpoint is a whole network, ready to
publish; with another go on with `training.train_video --init-backbone`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model_defs.registry import NETWORKS, build_network
from model_defs.video_net import FrameScoreNet
from training.arguments import prepared_splits, resolve_device, training_parser
from training.engine import TrainConfig, fit, seed_everything
from training.train_video import add_video_arguments, backbone_weights, video_spec, video_training
from training.video_task import VideoTask

EPILOG = """The last epoch is at <save path>.last.pt, the best by validation AUC at --save-path."""


def main(argv: Sequence[str] | None = None) -> Path:
    """Pre-train as the arguments say; returns the path of the best checkpoint."""
    networks = [name for name, network in NETWORKS.items() if network.modality == "video"]
    parser = training_parser("pretrain_frames", __doc__.split("\n\n")[0], EPILOG, networks)
    add_video_arguments(parser)
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data")
    parser.add_argument("--batch-size", type=int, default=32, help="frames in one step")
    parser.add_argument("--lr", type=float, default=3e-4, help="peak rate of the backbone")
    parser.set_defaults(train_frames=1, freeze_backbone=False)
    arguments = parser.parse_args(argv)
    spec, device = video_spec(arguments), resolve_device(arguments.device)
    train, val = prepared_splits(arguments, spec)
    seed_everything(arguments.seed)
    net = build_network(arguments.network, backbone_weights(arguments), arguments.allow_random)
    is_whole = isinstance(net, FrameScoreNet)
    net = net if is_whole else FrameScoreNet(net.backbone)
    task = VideoTask(arguments.network, spec, train, val, video_training(arguments, spec, device))
    if not is_whole:
        task.record["stage"] = "frames"
    rates = {"lr": arguments.lr, "head_lr_factor": 3.0}
    config = TrainConfig(epochs=arguments.epochs, **rates, seed=arguments.seed, device=device)
    fit(net, task, config, arguments.save_path, resume=arguments.resume)
    return arguments.save_path


if __name__ == "__main__":
    main()
