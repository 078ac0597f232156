"""Fails when the archives have become slower: more CPU time a request, or a later p95, than chance explains.

    make gate                         against what this machine stored for the same hardware and versions
    make gate STORE=1                 measure, and store that as the baseline
    make gate AGAINST=HEAD~1          against archives of another revision's code, both servers in turns
    make gate AGAINST=some/folder     against the archives of a folder

What was stored yesterday was measured on a machine that was busy with other things; --against is the fair comparison,
for both sides take turns and what else the machine does hits both. A model fails on 10 % more CPU time a request, or
15 % more p95, than the baseline: medians of the rounds, where the middle half of the rounds is worse as well, and only
if a second series of rounds says so again.

Exit status: 0 nothing is worse, 1 something is, 2 it could not be measured, 3 there is no baseline for this machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from loadtest.gate.baselines import BASELINES_DIR, Baseline, BaselineError, baseline_path
from loadtest.gate.comparison import Finding, Series, compare, confirmed
from loadtest.gate.runs import GateError, measure_in_turns, other_archives
from loadtest.measure.machine import describe_machine
from loadtest.measure.results import Machine, write_summaries
from operations.server import ServerError, TorchServe
from operations.settings import PROJECT_DIR

MODELS = ("video", "audio", "ensemble")
PASSED, WORSE, NOT_MEASURED, NO_BASELINE = range(4)
REPORT_DIR = PROJECT_DIR / "build" / "gate"


def findings_table(findings: Sequence[Finding], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title, title_justify="left")
    for heading in ("model", "metric", "baseline", "now", "ratio", "middle half", "allowed", ""):
        table.add_column(heading, justify="left" if heading in ("model", "metric", "") else "right")
    colours = {"worse": "[bold red]WORSE", "noise": "[yellow]noise", "same": "same", "better": "[green]better"}
    for each in findings:
        figures = [f"{each.base:.1f}", f"{each.now:.1f}", f"{each.ratio:.3f}", f"{each.low:.3f} to {each.high:.3f}"]
        table.add_row(each.model, each.metric, *figures, f"{1 + each.allowance:.2f}", colours[each.verdict])
    return table


def stages_table(base: Mapping[str, Series], now: Mapping[str, Series]) -> Table:
    """Where the time of a request went, before and now."""
    table = Table(title="mean ms of a request, baseline → now", title_justify="left")
    names = list(dict.fromkeys(name for series in (*base.values(), *now.values()) for name in series.stages_ms))
    for heading in ("model", *names):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for model, series in now.items():
        before = base[model].stages_ms
        table.add_row(model, *(f"{before.get(n, 0):.1f} → {series.stages_ms.get(n, 0):.1f}" for n in names))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--against", metavar="DIR|REVISION", help="archives to take turns with, instead of a baseline")
    what.add_argument("--store", action="store_true", help="store what is measured as this machine's baseline")
    parser.add_argument("--archives", type=Path, default=PROJECT_DIR / "archives", help="what is judged (%(default)s)")
    parser.add_argument("--baselines", type=Path, default=BASELINES_DIR, help="where they are stored (%(default)s)")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, help="(all three)")
    parser.add_argument("--clip", type=Path, default=PROJECT_DIR / "build" / "sample.mp4", help="file to send")
    parser.add_argument("--rounds", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--requests", type=int, default=15, help="of a round, to each model (%(default)s)")
    parser.add_argument("--callers", type=int, default=1, help="who ask at the same time (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    for name in ("rounds", "requests", "callers"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    archives = {model: args.archives / f"{model}.mar" for model in args.models}
    for path in (args.clip, *archives.values()):
        if not path.exists():
            parser.error(f"{path} is not there; `make archive sample` makes it")
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        return _judge(args, describe_machine(archives.values()), console)
    except (GateError, BaselineError, ServerError) as error:
        console.print(f"perf-regression check: {error}", markup=False)
        return NOT_MEASURED
    except KeyboardInterrupt:
        console.print("stopped; nothing was compared")
        return 130


def _judge(args: argparse.Namespace, machine: Machine, console: Console) -> int:
    clip = args.clip.read_bytes()
    load = f"{args.requests} requests a round, {args.callers} at once, clip {hashlib.sha256(clip).hexdigest()[:16]}"
    stored = None
    if not args.against and not args.store:
        stored = _stored(args, machine, load)
        if stored is None:
            console.print(f"There is no {baseline_path(machine, args.baselines)}: nothing was compared.", markup=False)
            console.print("`make gate STORE=1` stores what this machine measures now; AGAINST=REVISION needs none.")
            return NO_BASELINE
    console.print(str(machine), markup=False)
    with ExitStack() as running:
        candidates = _start(args, running, console)

        def series(models: Sequence[str]) -> dict[str, Mapping[str, Series]]:
            measured = _measure(args, candidates, models, clip, console)
            return measured | ({"baseline": stored.series} if stored else {})

        found = series(args.models)
        if args.store:
            path = Baseline(machine, load, found["now"]).save(args.baselines)
            console.print(f"stored {path}: {args.rounds} rounds of {load}", markup=False)
            return PASSED
        findings = _compare(args.models, found, in_turns=stored is None)
        if doubtful := list(dict.fromkeys(each.model for each in findings if each.verdict == "worse")):
            console.print(f"{', '.join(doubtful)}: worse; measuring again, to be sure")
            again = series(doubtful)
            found = {name: {**each, **again[name]} for name, each in found.items()}
            settled = [each for each in findings if each.model not in doubtful]
            findings = settled + confirmed(findings, _compare(doubtful, found, in_turns=stored is None))
    against = f"what was stored on {stored.machine.date}" if stored else args.against
    console.print(findings_table(findings, f"against {against}: {args.rounds} rounds of {load}"))
    console.print(stages_table(found["baseline"], found["now"]))
    record = {"machine": asdict(machine), "against": against, "load": load, "findings": [asdict(f) for f in findings]}
    (REPORT_DIR / "gate.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    worse = [f"{each.model}: {each.metric} × {each.ratio:.2f}" for each in findings if each.verdict == "worse"]
    console.print(f"WORSE: {', '.join(worse)}" if worse else "nothing is worse")
    if worse and stored:
        console.print("The baseline is of another day; AGAINST=REVISION compares side by side.")
    return WORSE if worse else PASSED


def _stored(args: argparse.Namespace, machine: Machine, load: str) -> Baseline | None:
    """This machine's baseline, if it has one; it must be of the same load and know all models."""
    stored = Baseline.load_for(machine, args.baselines)
    if stored and stored.load != load:
        raise GateError(f"the baseline was measured with {stored.load}; this would be {load}")
    if stored and (missing := set(args.models) - set(stored.series)):
        raise GateError(f"the baseline has no {', '.join(sorted(missing))}")
    return stored


def _start(args: argparse.Namespace, running: ExitStack, console: Console) -> dict[str, TorchServe]:
    """The server of each candidate, which runs until the stack is left."""
    folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="gate-")))
    stores = {"now": args.archives}
    if args.against:
        with console.status(f"building the archives of {args.against}"):
            stores["baseline"] = other_archives(args.against, args.models, folder / "against")
    servers = {name: TorchServe.private(folder / name, store, args.models) for name, store in stores.items()}
    with console.status("starting both servers" if args.against else "starting a server"):
        for server in servers.values():
            running.enter_context(server.running(drain_timeout_s=0))
    return servers


def _measure(
    args: argparse.Namespace,
    candidates: Mapping[str, TorchServe],
    models: Sequence[str],
    clip: bytes,
    console: Console,
) -> dict[str, Mapping[str, Series]]:
    """A series of rounds, by candidate and model; every round also goes to runs.csv."""
    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    size = {"n_rounds": args.rounds, "n_requests": args.requests, "n_callers": args.callers}
    with Progress(*columns, console=console, transient=True) as progress:
        runs = measure_in_turns(candidates, models, clip, **size, progress=progress)
    REPORT_DIR.mkdir(parents=True, exist_ok=True)
    all_runs = [run for by_model in runs.values() for rounds in by_model.values() for run in rounds]
    write_summaries(all_runs, REPORT_DIR / "runs.csv")
    return {name: {model: Series.of(rounds) for model, rounds in each.items()} for name, each in runs.items()}


def _compare(models: Sequence[str], found: Mapping[str, Mapping[str, Series]], *, in_turns: bool) -> list[Finding]:
    return [
        finding
        for model in models
        for finding in compare(model, found["baseline"][model], found["now"][model], in_turns=in_turns)
    ]


if __name__ == "__main__":
    sys.exit(main())
