"""Turn a checkpoint into the weights that are served: rounded, calibrated, measured, described.

    python -m training.publish runs/video/model.pt --dataset clips/ --output weights/video

Writes model.safetensors (fp16), quantization.safetensors (activation ranges for
int8), anomaly.safetensors (how unlike the train clips an input is),
measured.json (speed and differences of the variants here) and MODEL_CARD.md.
Calibration and int8 ranges come from val and train clips; the test split is
opened only with --with-test, and nothing is fitted on it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from training.data.prepared import DEFAULT_CACHE
from training.exporting.publication import publish
from training.run.config import saved_data


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="what train_video.py or train_audio.py kept")
    parser.add_argument("--dataset", type=Path, required=True, help="the data set that it was trained on")
    parser.add_argument("--output", type=Path, required=True, help="folder of the weights, e.g. weights/video")
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
        "default: even odds",
    )
    arguments = parser.parse_args(argv)
    if arguments.false_alarm_rate is not None and not 0 <= arguments.false_alarm_rate <= 1:
        parser.error(f"--false-alarm-rate is {arguments.false_alarm_rate}; it must lie between 0 and 1")
    figures = publish(
        arguments.checkpoint,
        saved_data(arguments.checkpoint).load(arguments.dataset),
        arguments.output,
        cache_dir=arguments.cache,
        with_test=arguments.with_test,
        n_workers=arguments.workers,
        false_alarm_rate=arguments.false_alarm_rate,
    )
    for split, by_variant in figures.items():
        for variant, estimates in by_variant.items():
            print(f"{split:5} {variant:5} " + "  ".join(f"{name} {value}" for name, value in estimates.items()))


if __name__ == "__main__":
    main()
