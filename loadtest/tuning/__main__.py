"""Finds the batch size, batch delay, workers and threads that serve a model best on this machine.

    make tune                                 all three models, one after another; MODELS=video for one
    make tune MODELS=video QUICK=1            in two minutes, roughly
    python -m loadtest.tuning video --slo-ms 400 --write

Settings are measured through a real TorchServe under two loads: as many requests at once as make full batches (clips a
second), and Poisson arrivals at 60 % of what the present setting can do (p95). Many are measured briefly, the best and
their neighbours longer, the finalists in turns (loadtest/tuning/search.py). build/tune/MODEL/ gets a page with the
frontier of throughput against p95, and MODEL.yaml, the model configuration with the setting that was chosen: the
largest throughput whose p95 keeps the SLO. The one in force stays unless it is beaten beyond noise. --write changes
config/MODEL.yaml; `make archive` then packs it.

A search that was stopped goes on where it was when it is called again; --fresh forgets it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from loadtest.measure.machine import describe_machine
from loadtest.measure.results import write_summaries
from loadtest.tuning.bench import OPEN_SHARE, Bench, TuneError
from loadtest.tuning.model_config import rewritten
from loadtest.tuning.page import headline, lines, tuning_page
from loadtest.tuning.record import Record
from loadtest.tuning.search import QUICK_RUNGS, RUNGS, Rung, Search
from loadtest.tuning.space import Setting, Space
from operations.server import ServerError, TorchServe
from operations.settings import PROJECT_DIR

MODELS = ("video", "audio", "ensemble")
MINUTES, QUICK_MINUTES = 10.0, 2.0
START_S = 15.0  # of these, what a server and a page take
REPORT_DIR = PROJECT_DIR / "build" / "tune"
CONFIG_DIR = PROJECT_DIR / "config"
ARCHIVES = PROJECT_DIR / "archives"


def seconds(rungs: Sequence[Rung]) -> float:
    """About how long is measured at most, without what starting the models takes."""
    return sum(2 * rung.duration_s * rung.rounds * (1 + rung.keep + rung.explore) for rung in rungs)


def settings_table(search: Search) -> Table:
    """For a terminal: the finalists and the rest of the frontier."""
    table = Table(title="measured, the best first", title_justify="left")
    for heading in ("setting", "clips/s", "p95 ms", "CPU ms", "rounds", ""):
        table.add_column(heading, justify="left" if heading in ("setting", "") else "right")
    for line in lines(search):
        if line.marks or line.n_rounds > 1:
            point = line.point
            figures = [f"{point.throughput_hz:.2f}", f"{point.p95_ms:.0f}", f"{point.cpu_ms:.0f}"]
            table.add_row(str(line.setting), *figures, str(line.n_rounds), ", ".join(line.marks))
    return table


def tune(model: str, args: argparse.Namespace, console: Console) -> Search:
    """Searches for one model, and writes what was found.

    Raises:
        TuneError, ServerError: it could not be measured.
    """
    config_path, folder = CONFIG_DIR / f"{model}.yaml", args.output / model
    text = config_path.read_text(encoding="utf-8")
    incumbent = Setting.of(yaml.safe_load(text))
    rungs = QUICK_RUNGS if args.quick else RUNGS
    space = Space.of_machine(os.cpu_count() or 1)
    clip = args.clip.read_bytes()
    machine = describe_machine([ARCHIVES / f"{model}.mar"])
    context = {
        "archive": machine.archives[model],
        "hardware": machine.hardware,
        "versions": machine.versions,
        "clip": hashlib.sha256(clip).hexdigest(),
        "incumbent": asdict(incumbent),
        "rungs": [asdict(rung) for rung in rungs],
        "slo_ms": args.slo_ms,
    }
    record_path = folder / "measured.jsonl"
    if args.fresh:
        record_path.unlink(missing_ok=True)
    record = Record(record_path, context)
    if len(record):
        console.print(f"going on with {len(record)} measurements of {record_path}; --fresh forgets them", markup=False)
    search = Search(incumbent, args.slo_ms)
    columns = (TextColumn("{task.description:64}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with ExitStack() as running:
        temporary = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="tune-")))
        store = temporary / "store"
        store.mkdir()
        server = TorchServe.private(temporary / "server", store)
        with console.status("starting a server"):
            running.enter_context(server.running(drain_timeout_s=0))
        progress = running.enter_context(Progress(*columns, console=console, transient=True))
        bar = progress.add_task(model, total=seconds(rungs))

        def tell(what: str, done_s: float) -> None:
            progress.update(bar, description=f"{model}: {what}" if what else None, advance=done_s)

        budget_s = 60 * (args.minutes or (QUICK_MINUTES if args.quick else MINUTES)) - START_S
        bench = Bench(server, store, ARCHIVES / f"{model}.mar", clip, _full_batches(space), record, budget_s, tell)
        search.run(space, bench.measure, rungs)
    if bench.n_left_out:
        console.print(f"There was no time for {bench.n_left_out} measurements; --minutes gives more.")
    folder.mkdir(parents=True, exist_ok=True)
    rate_hz = OPEN_SHARE * search.trials[incumbent][0][0].throughput_hz
    html = tuning_page(
        search, machine, args.clip.name, model, rate_hz=rate_hz, n_all=len(space.all()), quick=args.quick
    )
    (folder / "index.html").write_text(html, encoding="utf-8")
    write_summaries(bench.runs, folder / "runs.csv")
    (folder / f"{model}.yaml").write_text(rewritten(text, search.chosen()), encoding="utf-8")
    if args.write and search.chosen() != incumbent:
        config_path.write_text(rewritten(text, search.chosen()), encoding="utf-8")
    return search


def _full_batches(space: Space) -> int:
    return max(space.values["batch_size"]) * max(space.values["workers"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.tuning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(MODELS)} (all)")
    parser.add_argument("--slo-ms", type=float, help="p95 that a setting must keep (none)")
    parser.add_argument("--write", action="store_true", help="change config/MODEL.yaml if something better was found")
    parser.add_argument("--quick", action="store_true", help="few settings, measured briefly")
    parser.add_argument("--minutes", type=float, help=f"for each model ({MINUTES:g}; {QUICK_MINUTES:g} with --quick)")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier call measured")
    parser.add_argument("--clip", type=Path, default=PROJECT_DIR / "build" / "sample.mp4", help="file to send")
    parser.add_argument("--output", type=Path, default=REPORT_DIR, help="where to (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    models = args.models or list(MODELS)
    if unknown := [model for model in models if model not in MODELS]:
        parser.error(f"there is no model {unknown[0]}; allowed: {', '.join(MODELS)}")
    if args.minutes is not None and not args.minutes >= 1:
        parser.error(f"--minutes is {args.minutes:g}; it must be at least 1")
    if args.slo_ms is not None and not args.slo_ms > 0:
        parser.error(f"--slo-ms is {args.slo_ms:g}; it must be above 0")
    for path in (args.clip, *(ARCHIVES / f"{model}.mar" for model in models)):
        if not path.exists():
            parser.error(f"{path} is not there; `make archive sample` makes it")
    console = Console(width=None if sys.stdout.isatty() else 130)
    for model in models:
        try:
            search = tune(model, args, console)
        except (TuneError, ServerError) as error:
            console.print(f"tune: {model}: {error}", markup=False)
            return 1
        except KeyboardInterrupt:
            console.print("stopped; the same command goes on from here")
            return 130
        folder = args.output / model
        console.print(settings_table(search))
        console.print(headline(search), markup=False)
        console.print(f"page: {folder / 'index.html'}; configuration: {folder / f'{model}.yaml'}", markup=False)
        if args.slo_ms is not None and not search.point(search.chosen()).p95_ms <= args.slo_ms:
            console.print(f"no setting keeps p95 within {args.slo_ms:g} ms; this is the one that is least late")
        if search.chosen() != search.incumbent:
            done = f"config/{model}.yaml has it now: run `make archive`" if args.write else "--write takes it over"
            console.print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
