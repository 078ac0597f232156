"""The command line that both training scripts share."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from model_defs.spec import InputSpec, spec_from_dict
from model_defs.weights import load_weights
from training.datasets import check_no_leak, load_dataset, require_both_classes, select
from training.evaluation import score_clips
from training.metrics import summarize, within_source_auc
from training.prepare import DEFAULT_CACHE, PreparedClip, prepare


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the examples and shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return super()._get_help_string(action) if action.default else action.help


class TrainingParser(argparse.ArgumentParser):
    """A parser whose options may be spelled with dashes or underscores: --save-path, --save_path."""

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else args
        return super().parse_known_args([_dashed(argument) for argument in args], namespace)


def _dashed(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if argument.startswith("--") else argument


def training_parser(script: str, description: str, epilog: str, networks: list[str]) -> TrainingParser:
    """The options that all training scripts share; `--network` allows those given, the first by default."""
    parser = TrainingParser(
        prog=f"python -m training.{script}",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=_Help,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", type=Path, required=True, help="folder with manifest.csv, or with real/ and fake/")
    data.add_argument(
        "--extra-dataset",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="more folders; their train split is added, their other splits are left alone",
    )
    data.add_argument(
        "--val-share", type=float, default=0.2, help="of the source groups, where the data set names no split"
    )
    data.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder of prepared clips")
    run = parser.add_argument_group("run")
    run.add_argument("--save-path", type=Path, default=Path(f"runs/{script}/model.pt"), help="of the best epoch")
    run.add_argument("--resume", action="store_true", help="go on after the last epoch that was finished")
    run.add_argument("--device", help="cpu, cuda or cuda:N; default: cuda where there is one")
    run.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="that load clips")
    run.add_argument("--seed", type=int, default=0, help="of everything random")
    model = parser.add_argument_group("model")
    model.add_argument("--network", choices=networks, default=networks[0], help="what to train")
    return parser


def resolve_device(name: str | None) -> str:
    """The device asked for, or CUDA where there is one, else the CPU."""
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def prepared_splits(arguments: argparse.Namespace, spec: InputSpec) -> tuple[list[PreparedClip], list[PreparedClip]]:
    """The train and val clips that the arguments name, decoded; test clips are not even opened.

    Raises:
        DatasetError: a class is missing from one of them.
        LeakError: a group or a file's content lies in both.
    """
    clips = load_dataset(arguments.dataset, val_share=arguments.val_share, seed=arguments.seed)
    extra = [clip for folder in arguments.extra_dataset for clip in select(load_dataset(folder), "train")]
    check_no_leak([*clips, *extra])
    wanted = [*select(clips, "train", "val"), *extra]
    for split in ("train", "val"):
        require_both_classes(select(wanted, split), f"the {split} split of {arguments.dataset}")
    prepared = prepare(wanted, spec, arguments.cache, n_workers=max(1, arguments.workers))
    train, val = ([item for item in prepared if item.clip.split == split] for split in ("train", "val"))
    tqdm.write(f"{len(train)} clips to train on, {len(val)} of other groups to validate on")
    return train, val


def report(checkpoint: Path, val: list[PreparedClip], device: str) -> None:
    """Print the figures of the checkpoint that was kept, with intervals."""
    net, record = load_weights(checkpoint)
    scores = score_clips(net.to(device), val, spec_from_dict(record["spec"]), device)
    figures = summarize(scores.labels, scores.p_fake, scores.groups)
    print(f"{checkpoint}: epoch {record['epoch']}, {len(scores.labels)} validation clips, 95 % intervals over groups")
    for name, estimate in figures.items():
        print(f"  {name:18} {estimate}")
    within, n_pairs = within_source_auc(scores.labels, scores.p_fake, scores.sources)
    if n_pairs:
        print(f"  {'auc within source':18} {within:.3f}, of {n_pairs} pairs of a real and a fake clip")
