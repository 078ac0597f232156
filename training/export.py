"""From published weights to an artifact directory of TorchScript files.

python -m training.export WEIGHTS_DIR --output DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from model_defs.networks.artifact import VARIANTS
from training.exporting.variants import export_variants


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__.partition("\n")[0])
    parser.add_argument("weights_dir", type=Path, metavar="WEIGHTS_DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="replaced as a whole")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # many small operations: more threads gain nothing, and on busy cores wait for each other
    manifest = export_variants(options.weights_dir, options.output, tuple(options.variants))
    for variant, entry in manifest["variants"].items():
        size_mib = entry["size_bytes"] / 2**20
        print(f"{options.output}/{entry['file']}: {size_mib:.1f} MiB, {manifest['checks'][variant]}")


if __name__ == "__main__":
    main()
