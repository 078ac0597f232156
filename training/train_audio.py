"""Train an audio network on labelled clips.

python -m training.train_audio --dataset clips/ --epochs 30 --batch-size 16 --lr 0.001 --device cuda
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_defs.registry import NETWORKS, build_network
from model_defs.weights import load_weights
from training.arguments import prepared_splits, report, resolve_device, training_parser
from training.audio_task import AudioTask, AudioTraining
from training.engine import TrainConfig, fit, seed_everything

EPILOG = """examples:
  the classic form:
    %(prog)s --dataset clips/ --save-path runs/audio/model.pt --epochs 30 --batch-size 16 --lr 0.001 --device cuda
  a coarser step over time, which scores quicker:
    %(prog)s --dataset clips/ --hop-length 512
  after an interruption, the same command with --resume.

The best epoch by validation AUC is kept at --save-path, the last one beside it as .last.pt,
the figures of each epoch as .history.json and .history.png. Publish the result with `python -m training.publish`.
"""


def main(argv: Sequence[str] | None = None) -> Path:
    """Train as the arguments say; returns the path of the best checkpoint."""
    networks = [name for name, network in NETWORKS.items() if network.modality == "audio"]
    parser = training_parser("train_audio", __doc__.split("\n\n")[0], EPILOG, networks)
    parser.add_argument("--epochs", type=int, default=30, help="passes over the data")
    parser.add_argument("--batch-size", type=int, default=32, help="windows in one step")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak rate")
    parser.add_argument(
        "--hop-length", type=int, help="samples from one feature frame to the next; default: the network's own"
    )
    parser.add_argument("--mixup", type=float, default=0.5, metavar="SHARE", help="of the batches that are blended")
    parser.add_argument(
        "--augmented-copies", type=int, default=0, metavar="N", help="augment each clip N times in all; 0: every time"
    )
    parser.add_argument("--train-share", type=float, default=1.0, help="of a window's frames shown in training")
    parser.add_argument("--init", type=Path, help="start from this checkpoint of the same network")
    arguments = parser.parse_args(argv)
    spec = NETWORKS[arguments.network].spec
    spec = replace(spec, hop_length=arguments.hop_length or spec.hop_length)
    device = resolve_device(arguments.device)
    train, val = prepared_splits(arguments, spec)
    seed_everything(arguments.seed)
    net = load_weights(arguments.init)[0] if arguments.init else build_network(arguments.network)
    training = AudioTraining(
        batch_size=arguments.batch_size,
        n_workers=arguments.workers,
        seed=arguments.seed,
        device=device,
        mixup_share=arguments.mixup,
        n_copies=arguments.augmented_copies,
        train_share=arguments.train_share,
    )
    config = TrainConfig(epochs=arguments.epochs, lr=arguments.lr, seed=arguments.seed, device=device)
    task = AudioTask(arguments.network, spec, train, val, training)
    fit(net, task, config, arguments.save_path, resume=arguments.resume)
    report(arguments.save_path, val, device)
    return arguments.save_path


if __name__ == "__main__":
    main()
