"""Make the pseudo-fakes of sound once, ahead of training: copies of real train clips by each vocoder, on all cores.

python -m training.self_vocode DATASET --config audio      or: make prepare
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from training.augmentation.vocoded import FOLDER, vocoded_copies
from training.augmentation.vocoders import VOCODERS
from training.data.datasets import SPLIT_ORIGINS, load_dataset, select
from training.data.prepared import DEFAULT_CACHE, prepare
from training.data.sources import FORMATS
from training.run.options import preset_spec


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.self_vocode",
        description=__doc__.split("\n\n")[0],
        epilog=f"formats:\n{chr(10).join(f'  {source.name:14} {source.layout}' for source in FORMATS.values())}\n\n"
        "Training with --vocoded-share does the same by itself; this does it beforehand, on many cores.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "dataset", type=Path, help="folder in one of the formats below; its real train clips are copied"
    )
    parser.add_argument(
        "--config", metavar="PRESET", default="audio", help="for what this preset trains; default: %(default)s"
    )
    parser.add_argument("--vocoders", nargs="+", choices=VOCODERS, default=list(VOCODERS), help="default: all")
    parser.add_argument("--format", choices=("auto", *FORMATS), default="auto", help="default: %(default)s")
    parser.add_argument("--splits", choices=SPLIT_ORIGINS, default="published", help="default: %(default)s")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        spec = preset_spec(arguments.config)
        if spec.modality != "audio":
            raise ValueError(f"preset {arguments.config} trains on {spec.modality}; only sound can be vocoded")
        clips = load_dataset(arguments.dataset, layout=arguments.format, splits=arguments.splits)
        real = [clip for clip in select(clips, "train") if clip.label == 0]
        prepared = prepare(real, spec, arguments.cache, n_workers=arguments.workers)
        copies = vocoded_copies(prepared, arguments.vocoders, spec.rate_hz, n_workers=arguments.workers)
    except ValueError as error:  # of the data set or the preset
        raise SystemExit(f"{parser.prog}: {error}") from None
    n_copies = sum(len(by_name) for by_name in copies)
    print(f"{n_copies} copies of {len(prepared)} real train clips lie in {prepared[0].array_path.parent / FOLDER}")


if __name__ == "__main__":
    main()
