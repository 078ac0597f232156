"""From published weights to an artifact directory of TorchScript files.

    python -m training.export weights/video --output build/artifacts/video
    python -m training.export weights/video --output build/artifacts/video --measure [--dataset clips/]

--measure takes what variants cost and change on this machine into the weights' measured.json, and from there into the
artifact: forward times and, with --dataset, the differences to fp32 on its validation clips.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from model_defs.networks.artifact import MANIFEST_FILE, VARIANTS
from training.exporting.measurement import MEASURED_FILE, measure_again, retime
from training.exporting.variants import export_variants


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights_dir", type=Path, metavar="WEIGHTS_DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="replaced as a whole")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--measure", action="store_true", help="renew measured.json first, with what lies in --output")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="with --measure: compare verdicts on its val clips")
    parser.add_argument("--repeats", type=int, default=31, metavar="N", help="with --measure: passes; %(default)s")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="torch threads, as in one worker; default: %(default)s"
    )
    options = parser.parse_args(arguments)
    if options.dataset and not options.measure:
        parser.error("--dataset is for --measure alone")
    torch.set_num_threads(options.threads)  # small operations: more threads gain nothing, and wait on busy cores
    if options.measure:
        if options.dataset:
            (options.weights_dir / MEASURED_FILE).unlink(missing_ok=True)  # it may be of the weights before these
        if options.dataset or not (options.output / MANIFEST_FILE).is_file():
            export_variants(options.weights_dir, options.output)
        if options.dataset:
            measure_again(options.weights_dir, options.output, options.dataset)
        measured = retime(options.weights_dir, options.output, options.repeats)
        for variant, entry in measured["variants"].items():
            agreement = f"fp32's verdict on {entry['agreement']:.1%} of {entry['n_inputs']} inputs"
            print(f"{variant}: {entry['forward_ms']} ms, {agreement}")
    manifest = export_variants(options.weights_dir, options.output, tuple(options.variants))
    for variant, entry in manifest["variants"].items():
        size_mib = entry["size_bytes"] / 2**20
        print(f"{options.output}/{entry['file']}: {size_mib:.1f} MiB, {manifest['checks'][variant]}")


if __name__ == "__main__":
    main()
