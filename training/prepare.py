"""Decode the clips of a data set once, ahead of training, on all cores.

python -m training.prepare DATASET --modality video      or: make prepare
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from model_defs.networks.registry import NETWORKS
from model_defs.spec import AudioSpec
from training.augmentation.vocoded import FOLDER, vocoded_copies
from training.augmentation.vocoders import VOCODERS
from training.data.datasets import SPLIT_ORIGINS, describe, load_dataset
from training.data.prepared import DEFAULT_CACHE, prepare
from training.data.sources import FORMATS
from training.run.options import preset_spec


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    layouts = "\n".join(f"  {source.name:14} {source.layout}" for source in FORMATS.values())
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare",
        description=__doc__.split("\n\n")[0],
        epilog=f"formats:\n{layouts}\n\nTraining does the same by itself; this does it beforehand, on many cores.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    networks = ", ".join(NETWORKS)
    parser.add_argument("dataset", type=Path, help="folder in one of the formats below")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--modality", choices=("video", "audio"), help="prepare for the published model of that name")
    kind.add_argument("--config", metavar="PRESET", help="prepare for what this preset of config/training trains")
    kind.add_argument("--network", choices=NETWORKS, metavar="NAME", help=f"prepare for this network: {networks}")
    parser.add_argument(
        "--vocoders",
        nargs="*",
        choices=VOCODERS,
        metavar="NAME",
        help=f"copy real train clips of sound by these of {', '.join(VOCODERS)}, for --vocoded-share; alone: by all",
    )
    parser.add_argument("--format", choices=("auto", *FORMATS), default="auto", help="default: %(default)s")
    parser.add_argument("--splits", choices=SPLIT_ORIGINS, default="published", help="default: %(default)s")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="at a time; default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        if arguments.network:
            spec = NETWORKS[arguments.network].spec
        else:
            spec = preset_spec(arguments.config or arguments.modality)
        if arguments.vocoders is not None and not isinstance(spec, AudioSpec):
            raise ValueError("--vocoders: only sound can be vocoded")
        clips = load_dataset(arguments.dataset, layout=arguments.format, splits=arguments.splits)
        prepared = prepare(clips, spec, arguments.cache, n_workers=arguments.workers)
        real = [item for item in prepared if item.clip.split == "train" and item.clip.label == 0]
        if arguments.vocoders is not None:
            names = arguments.vocoders or list(VOCODERS)
            copies = vocoded_copies(real, names, spec.rate_hz, n_workers=arguments.workers)
    except ValueError as error:  # of the data set or the preset
        raise SystemExit(f"{parser.prog}: {error}") from None
    folder = prepared[0].array_path.parent
    size_mib = sum(item.array_path.stat().st_size for item in prepared) / 2**20
    print(f"{len(prepared)} of {len(clips)} clips are prepared, {size_mib:.0f} MiB in {folder}")
    if arguments.vocoders is not None:
        n_copies = sum(len(by_name) for by_name in copies)
        print(f"{n_copies} copies of {len(real)} real train clips lie in {folder / FOLDER}")
    print(describe([item.clip for item in prepared]))


if __name__ == "__main__":
    main()
