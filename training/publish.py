"""Turn a checkpoint into the weights that are served: rounded, calibrated, measured, described.

    python -m training.publish runs/video/model.pt --dataset clips/ --output weights/video

Writes model.safetensors (fp16), quantization.safetensors (activation ranges for
int8), anomaly.safetensors (how unlike the train clips an input is),
measured.json (speed and differences of the variants here) and MODEL_CARD.md.
Of several checkpoints of runs that went on from the same weights the mean of the weights is published.
Calibration and int8 ranges come from val and train clips; the test split is
opened only with --with-test, and nothing is fitted on it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from model_defs.networks.weights import load_weights
from model_defs.spec import spec_from_dict
from training.data.datasets import select
from training.data.prepared import DEFAULT_CACHE, prepare
from training.exporting.anomaly import ANOMALY_FILE, write_anomaly
from training.exporting.publication import publish
from training.exporting.quantization import load_observer_state, quantize_int8
from training.exporting.variants import OBSERVER_FILE, WEIGHTS_FILE
from training.loop.checkpoint import average, write
from training.run.config import saved_data


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoints",
        type=Path,
        nargs="+",
        metavar="CHECKPOINT",
        help="what a training run kept; of several from one start the weights are averaged",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the data set that it was trained on")
    parser.add_argument("--output", type=Path, required=True, help="folder of the weights, e.g. weights/video")
    parser.add_argument(
        "--only-ood",
        action="store_true",
        help="fit the distance for out-of-distribution inputs alone, to weights that were published into --output "
        "(CHECKPOINT is their model.safetensors)",
    )
    parser.add_argument(
        "--with-test", action="store_true", help="measure the test split too: once, when all is decided"
    )
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="folder of prepared clips; default: %(default)s"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="that decode clips; default: %(default)s"
    )
    parser.add_argument(
        "--false-alarm-rate",
        type=float,
        metavar="RATE",
        help="choose the threshold so that no larger share of val's real clips counts as fake, e.g. 0.05; "
        "default: with equal priors",
    )
    options = parser.parse_args(argv)
    if options.false_alarm_rate is not None and not 0 <= options.false_alarm_rate <= 1:
        parser.error(f"--false-alarm-rate is {options.false_alarm_rate}; it must lie between 0 and 1")
    if options.only_ood:
        _fit_ood(options)
        return
    first, *others = options.checkpoints
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = first
        if others:
            checkpoint = Path(scratch) / "average.pt"
            try:
                write(average(options.checkpoints), checkpoint)
            except (OSError, ValueError) as error:
                parser.error(str(error))
        metrics = publish(
            checkpoint,
            saved_data(first).load(options.dataset),
            options.output,
            cache_dir=options.cache,
            with_test=options.with_test,
            n_workers=options.workers,
            false_alarm_rate=options.false_alarm_rate,
        )
    for split, by_variant in metrics.items():
        for variant, estimates in by_variant.items():
            print(f"{split:5} {variant:5} " + "  ".join(f"{name} {value}" for name, value in estimates.items()))


def _fit_ood(options: argparse.Namespace) -> None:
    """Write anomaly.safetensors anew beside published weights."""
    torch.set_num_threads(1)
    net, meta = load_weights(options.output / WEIGHTS_FILE)
    spec = spec_from_dict(meta["spec"])
    clips = select(saved_data(options.checkpoints[0]).load(options.dataset), "train", "val")
    prepared = prepare(clips, spec, options.cache, n_workers=options.workers)
    train, val = ([item for item in prepared if item.clip.split == split] for split in ("train", "val"))
    observed = options.output / OBSERVER_FILE
    int8 = quantize_int8(net, load_observer_state(observed) if observed.exists() else None)
    write_anomaly(options.output, {"fp32": net, "int8": int8}, train, val, spec)
    print(f"{options.output / ANOMALY_FILE}: of {len(train)} train and {len(val)} val clips")


if __name__ == "__main__":
    main()
