"""Take what variants cost and change again: forward times, and differences to fp32.

python -m training.measure WEIGHTS_DIR ARTIFACT_DIR                  the times in measured.json
python -m training.measure WEIGHTS_DIR ARTIFACT_DIR --dataset DIR    and the differences, on its validation clips
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from training.exporting.measurement import measure_again, retime


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.measure", description=retime.__doc__.partition("\n")[0])
    parser.add_argument("weights_dir", type=Path, metavar="WEIGHTS_DIR")
    parser.add_argument(
        "artifact_dir", type=Path, metavar="ARTIFACT_DIR", help="what training.export made of the weights"
    )
    parser.add_argument("--repeats", type=int, default=31, metavar="N")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="torch threads, as in one worker (default 1)"
    )
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="compare verdicts on its validation clips, too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.dataset:
        measure_again(options.weights_dir, options.artifact_dir, options.dataset)
    measured = retime(options.weights_dir, options.artifact_dir, options.repeats)
    for variant, entry in measured["variants"].items():
        agreement = f"fp32's verdict on {entry['agreement']:.1%} of {entry['n_inputs']} inputs"
        print(f"{variant}: {entry['forward_ms']} ms, {agreement}")


if __name__ == "__main__":
    main()
