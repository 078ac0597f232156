"""Throws hostile files at the code that decodes, many more than the tests do, and says what became of them.

    make fuzz FILES=5000 SEED=7
    python -m tests.hostile --files 20000 --seed 3                damaged files through the decoder
    python -m tests.hostile --files 500 --depth verdict           through the networks as well (needs `make artifacts`)
    python -m tests.hostile --crafted                             the hand-made files first

A file that crashes or hangs the process, or comes out as anything but an answer or a documented refusal, is kept in
build/fuzz/ and makes the exit status 1. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.hostile.corpus import crafted, mutated
from tests.hostile.trial import PROJECT_DIR, try_files

KEPT_DIR = PROJECT_DIR / "build" / "fuzz"
SLOW_S, LARGE_MIB = 5.0, 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=5_000, help="damaged files to make (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (%(default)s)")
    parser.add_argument(
        "--depth", choices=("decode", "verdict"), default="decode", help="how far they go (%(default)s)"
    )
    parser.add_argument(
        "--kind", default="", help="only containers and codecs whose name has this in it, such as mpegts"
    )
    parser.add_argument("--crafted", action="store_true", help="begin with the hand-made files")
    args = parser.parse_args(argv)
    console = Console()
    outcomes: Counter[str] = Counter()
    n_faults = 0
    files = [*(crafted() if args.crafted else ()), *mutated(args.files, args.seed, args.kind)]
    trials = try_files([data for _, data in files], args.depth)
    for trial in track(trials, "trying files", total=len(files), console=console):
        outcomes[trial.outcome.split(":")[0]] += 1
        name, data = files[trial.index]
        if trial.is_fault or trial.spent_s > SLOW_S or trial.peak_mib > LARGE_MIB:
            console.print(
                f"{name}: {trial.outcome}, {trial.spent_s:.1f} s, {trial.peak_mib:.0f} MiB more", markup=False
            )
        if trial.is_fault:
            n_faults += 1
            KEPT_DIR.mkdir(parents=True, exist_ok=True)
            (KEPT_DIR / f"{args.seed}-{trial.index}.bin").write_bytes(data)
    table = Table("outcome", "files", title=f"{len(files)} hostile files, seed {args.seed}, up to the {args.depth}")
    for outcome, count in outcomes.most_common():
        table.add_row(outcome, str(count))
    console.print(table)
    if n_faults:
        console.print(f"{n_faults} faults; the files are in {KEPT_DIR.relative_to(PROJECT_DIR)}/")
    return int(n_faults > 0)


if __name__ == "__main__":
    sys.exit(main())
