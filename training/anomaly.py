"""Fit the anomaly score of published weights: how far an input lies from the train clips, and from how many val clips.

    python -m training.anomaly weights/audio --dataset clips/

Publishing does this by itself; the command is for weights that were published without it. It writes
anomaly.safetensors beside the weights: the distance, fitted to the train clips, and the distances that val clips have
under each variant, which turn a distance into a percentile. What it is worth, `make evaluate` says.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from model_defs.networks.weights import load_weights
from model_defs.spec import spec_from_dict
from training.data.datasets import load_dataset, select
from training.data.prepared import DEFAULT_CACHE, prepare
from training.exporting.anomaly import ANOMALY_FILE, write_anomaly
from training.exporting.quantization import load_observer_state, quantize_int8


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.anomaly", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="folder of published weights")
    parser.add_argument("--dataset", type=Path, required=True, help="the data set that they were trained on")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="of prepared clips; default: %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="that decode clips")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    net, meta = load_weights(options.weights / "model.safetensors")
    spec = spec_from_dict(meta["spec"])
    clips = select(load_dataset(options.dataset), "train", "val")
    prepared = prepare(clips, spec, options.cache, n_workers=options.workers)
    train, val = ([item for item in prepared if item.clip.split == split] for split in ("train", "val"))
    observed = options.weights / "quantization.safetensors"
    int8 = quantize_int8(net, load_observer_state(observed) if observed.exists() else None)
    write_anomaly(options.weights, {"fp32": net, "int8": int8}, train, val, spec)
    print(f"{options.weights / ANOMALY_FILE}: of {len(train)} train and {len(val)} val clips")


if __name__ == "__main__":
    main()
