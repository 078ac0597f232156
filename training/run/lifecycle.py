"""How a training run begins and ends, whatever it trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from model_defs.networks.backbones import BackboneWeightsError
from model_defs.networks.weights import load_weights
from model_defs.spec import InputSpec, spec_from_dict
from training.data.datasets import Clip, DatasetError, check_no_leak, require_both_classes, select
from training.data.prepared import PreparedClip, check_contents, prepare
from training.data.shards import check_contents_of_shards, prepare_shards
from training.evaluation.calibration import NoBetterThanChanceError
from training.evaluation.metrics import summarize, within_source_auc
from training.evaluation.scores import score_clips
from training.exporting.publication import plain_metrics, publish
from training.exporting.variants import export_variants
from training.loop import distributed
from training.loop.checkpoint import RunError
from training.loop.engine import Task, fit, seed_everything
from training.loop.train_config import TrainConfig
from training.run.config import SETTINGS_SUFFIX, DataConfig, RunConfig
from training.run.options import Settings

Prepared = list[PreparedClip]
MakeTask = Callable[[Prepared, Prepared, str], tuple[nn.Module, Task]]


def train(settings: Settings, spec: InputSpec, make_task: MakeTask, *, is_whole: bool = True) -> Path:
    """One run: prepare the clips, train, report and export.

    Args:
        settings: of the script.
        spec: input of the network.
        make_task: network and task from the train clips, the val clips and the device; called with everything seeded.
        is_whole: the checkpoint is a whole network, which can be scored and exported.

    Returns:
        The path of the best checkpoint.

    Raises:
        DatasetError: the clips cannot be trained on.
        LeakError: a group or a file's content lies in two splits.
        RunError: the device is not there, or the run to be resumed was another one.
    """
    run, data = settings.make(RunConfig), settings.make(DataConfig)
    path, extra = run.save_path, {"n_workers": run.workers}
    with distributed.processes(resolve_device(run.device)) as device:
        if data.sharded and run.export and distributed.n_machines() > 1:
            raise RunError("--sharded needs --no-export: publishing reads all clips; do that later, on one machine")
        with nullcontext() if data.sharded else distributed.main_first():
            clips = data.load(data.dataset)
            train_clips, val_clips = prepared_splits(clips, data, spec, **extra)
        seed_everything(run.seed)
        net, task = make_task(train_clips, val_clips, device)
        if is_main := distributed.is_main():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(SETTINGS_SUFFIX).write_text(settings.to_yaml(), encoding="utf-8")
        config = settings.make(TrainConfig, device=device)
        fit(net, task, config, path, resume=run.resume, tensorboard=run.tensorboard)
    if is_main and is_whole:
        report(path, val_clips, device)
        if run.export:
            export(path, select(clips, "train", "val"), data.cache, n_workers=max(1, run.workers))
    return path


def resolve_device(name: str | None) -> str:
    """The device asked for, or CUDA where there is one, else the CPU.

    Raises:
        RunError: CUDA is asked for and not there.
    """
    if name and name.startswith("cuda") and not torch.cuda.is_available():
        raise RunError(f"device is {name}, but there is no CUDA device here; allowed: cpu")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def prepared_splits(
    clips: list[Clip], data: DataConfig, spec: InputSpec, *, n_workers: int
) -> tuple[Prepared, Prepared]:
    """The train and val clips of all data sets, decoded; of test clips the bytes alone are compared with theirs.

    Raises:
        DatasetError: a class is missing from one of them.
        LeakError: a group or a file's content lies in two splits.
    """
    any_layout = replace(data, format="auto")
    extra = [clip for folder in data.extra_dataset for clip in select(any_layout.load(folder), "train")]
    check_no_leak([*clips, *extra])
    wanted = [*select(clips, "train", "val"), *extra]
    for split in ("train", "val"):
        require_both_classes(select(wanted, split), f"the {split} split of {data.dataset}")
    check, make = (check_contents_of_shards, prepare_shards) if data.sharded else (check_contents, prepare)
    check([*clips, *extra], data.cache, n_workers=max(1, n_workers))
    shown = distributed.is_main()
    prepared = make(wanted, spec, data.cache, n_workers=max(1, n_workers), show_progress=shown)
    train, val = ([item for item in prepared if item.clip.split == split] for split in ("train", "val"))
    for split, items in {"train": train, "val": val}.items():
        require_both_classes([item.clip for item in items], f"what could be decoded of the {split} split")
    tqdm.write(f"{len(train)} clips to train on, {len(val)} of other groups to validate on")
    return train, val


def report(checkpoint: Path, val: Prepared, device: str) -> None:
    """Print the metrics of the checkpoint that was kept, with intervals."""
    net, record = load_weights(checkpoint)
    scores = score_clips(net.to(device), val, spec_from_dict(record["spec"]), device)
    metrics = summarize(scores.labels, scores.p_fake, scores.groups)
    print(f"{checkpoint}: epoch {record['epoch']}, {len(scores.labels)} validation clips, 95 % intervals over groups")
    for name, estimate in metrics.items():
        print(f"  {name:18} {estimate}")
    within, n_pairs = within_source_auc(scores.labels, scores.p_fake, scores.sources)
    if n_pairs:
        print(f"  {'auc within source':18} {within:.3f}, of {n_pairs} pairs of a real and a fake clip")


def export(checkpoint: Path, clips: list[Clip], cache_dir: Path, *, n_workers: int) -> Path | None:
    """Weights, model card, evaluation.json and TorchScript artifacts of a checkpoint, in `<its stem>.exported/`.

    Returns:
        The folder; None where the network is no better than chance, which is told.
    """
    folder = checkpoint.with_suffix(".exported")
    try:
        metrics = publish(checkpoint, clips, folder, cache_dir=cache_dir, n_workers=n_workers)
    except NoBetterThanChanceError as error:
        print(f"not exported: {error}")
        return None
    manifest = export_variants(folder, folder / "artifact")
    evaluation = {"checkpoint": str(checkpoint), "metrics": plain_metrics(metrics), "variants": manifest["variants"]}
    (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")
    print(f"exported to {folder}: MODEL_CARD.md, evaluation.json, and in artifact/ {', '.join(manifest['variants'])}")
    return folder


def command(main: Callable[[], object]) -> None:
    """Run a script's `main`, with errors that its user can mend as one line and not as a traceback."""
    try:
        main()
    except (DatasetError, RunError, BackboneWeightsError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command with --resume goes on after the last finished epoch") from None
