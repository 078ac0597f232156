"""Our server beside its peers: the same models, preprocessing, payloads and cores. `make peers` runs it.

    python -m loadtest.peers                                  three models, all peers: about 7 minutes
    python -m loadtest.peers --quick                          two models, short turns: about 2 minutes
    python -m loadtest.peers --models audio --candidates ours litserve --in-flight 1 4 16

Every candidate serves one model with the batch size, delay, workers and threads of config/<model>.yaml, and remembers
nothing. All run at the same time on the same cores, with the client; one is under load while the others rest, in turns
whose order rotates. First the verdicts on the clip must be equal. `tiny` is a network that costs next to nothing, on
12 KiB: what it shows is the server. Figures go to build/peers/: results.json, table.md, peers.png.
`python -m loadtest.peers.publish` puts the table into docs/peers.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.peers.candidates import CANDIDATES, PEERS_PYTHON, Candidate, Peer
from loadtest.peers.comparison import Plan, Standing, compare, n_steps
from loadtest.peers.report import Report, describe
from loadtest.peers.workload import MODELS, PROJECT_DIR

OUTPUT = PROJECT_DIR / "build" / "peers"
USUAL_MODELS, QUICK_MODELS = ("tiny", "audio", "ensemble"), ("tiny", "audio")
NAMES = {"ours": CANDIDATES[0], "litserve": CANDIDATES[1], "bentoml": CANDIDATES[2], "ray": CANDIDATES[3]}
NAMES |= {"in-process": CANDIDATES[4]}
QUICK = Plan(seconds=1.0, warm_up_s=1.5, n_repeats=2)


def run(models: Sequence[str], kinds: Sequence[type[Candidate]], clip: Path, plan: Plan, console: Console) -> Report:
    """Compares on one model after the other."""
    standings: list[Standing] = []
    columns = (TextColumn("{task.description:44}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=len(models) * n_steps(len(kinds), plan))

        def advance(description: str) -> None:
            progress.update(task, advance=1, description=description)

        for model in models:
            standings += compare(model, kinds, clip, plan, advance)
    return Report(describe(models, kinds), plan, tuple(standing.to_dict() for standing in standings))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status tells whether every row is valid."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, metavar="MODEL", help=f"of {', '.join(MODELS)} (all but video)"
    )
    parser.add_argument(
        "--candidates", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help=f"of {', '.join(NAMES)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer models and short turns; not for publishing")
    parser.add_argument(
        "--clip", type=Path, default=PROJECT_DIR / "build" / "sample.mp4", help="file to send copies of"
    )
    parser.add_argument("--in-flight", type=int, nargs="+", metavar="N", help="requests under way (1 8)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of one turn under load")
    parser.add_argument("--repeats", type=int, metavar="N", help="turns of each candidate at each load")
    parser.add_argument(
        "--cores", type=int, nargs="+", metavar="CORE", help="numbers of the cores that all share (all that are free)"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="where figures go (%(default)s)")
    options = parser.parse_args(arguments)
    kinds = [NAMES[name] for name in dict.fromkeys(options.candidates)]
    if not options.clip.exists():
        parser.error(f"{options.clip} is not there; `make sample` makes it")
    if any(issubclass(kind, Peer) for kind in kinds) and not PEERS_PYTHON.exists():
        parser.error(f"{PEERS_PYTHON} is not there; `make peers` makes the environment that peers run in")
    if options.cores:
        os.sched_setaffinity(0, options.cores)  # whatever is started from here inherits it
    chosen = {"n_in_flight": options.in_flight, "seconds": options.seconds, "n_repeats": options.repeats}
    try:
        plan = replace(
            QUICK if options.quick else Plan(),
            **{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items() if value},
        )
    except ValueError as error:
        parser.error(str(error))
    models = options.models or (QUICK_MODELS if options.quick else USUAL_MODELS)
    console = Console(width=120)
    report = run(models, kinds, options.clip, plan, console)
    report.write(options.output)
    console.print(str(report.machine), highlight=False)
    for table in report.tables():
        console.print(table)
    for problem in report.problems:
        console.print(f"[red]not valid:[/red] {problem}", highlight=False)
    console.print(f"written to {options.output}: results.json, table.md, peers.png")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
