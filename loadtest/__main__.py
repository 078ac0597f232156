"""Load on our own server: every scenario, the benchmark table, a report. `make loadtest` runs it.

    python -m loadtest                                   everything, in less than 15 minutes on two cores
    python -m loadtest --quick                           fewer requests, less than 2 minutes; not for publishing
    python -m loadtest --scenario server --rate 4        one scenario at one rate
    python -m loadtest --server http://10.0.0.5:8080 --grpc-server 10.0.0.5:7070 --scenario mixed
    python -m loadtest --list                            what there is

A server of its own is started on the archives that `make archive` builds; --server measures another one, whose key
DEEPDETECT_KEY_FILE or DEEPDETECT_INFERENCE_KEY tells, and of whose processes nothing is known. Before anything is
timed, a set of clips is judged by the local detector and by the server; verdicts must be the same, and so must be all
that come under load. build/loadtest/latest holds the report: index.html, CSV files, the table in Markdown.
docs/loadtest.md explains scenarios and figures.

exit status: 0 all gating targets hold and all runs count, 1 one does not, 2 wrong usage
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from client.errors import ClientError
from client.keys import find_keys
from client.management import Management
from loadtest.measure.archive_copies import copy_archive
from loadtest.measure.in_process_baseline import in_process_cpu_ms
from loadtest.measure.machine import describe_machine
from loadtest.measure.results import LoadTest
from loadtest.report.benchmark_table import Evidence, fill_in
from loadtest.report.facts import facts
from loadtest.report.page import PAGE, headline, write_report
from loadtest.report.terminal import rows_table, runs_table, scenarios_table
from loadtest.runner.locust_driver import DriveError, Driver, Target
from loadtest.runner.parity_check import check_verdicts
from loadtest.runner.progress import Steps
from loadtest.runner.rollout import VERSION
from loadtest.workload.clips import make_clips
from loadtest.workload.reference import reference_of
from loadtest.workload.scenario import SCENARIOS_FILE, Scenario, ScenarioError, read_scenarios
from operations.server import PROJECT_DIR, ServerError, TorchServe

ARCHIVES = PROJECT_DIR / "archives"
OUTPUT = PROJECT_DIR / "build" / "loadtest"
# Models of the load test that are no archives of the project.
VARIANTS = {
    f"{model}_{variant}": (model, {"handler": {"variant": variant}})
    for model in ("video", "audio")
    for variant in ("fp32", "int8")
}
CLIP = "ten seconds of 720p H.264 with AAC speech, 0.47 MiB, each upload unlike any other"
# About what a start and the comparison of verdicts take; how long the loop without a server is to run.
START_S, CHECK_S, BARE_S, QUICK_BARE_S = 25.0, 12.0, 12.0, 3.0


@contextmanager
def own_server(models: Sequence[str], with_rollout: bool) -> Iterator[Target]:
    """A private server with these models, and the archives of version 2.0 where they are to be rolled out."""
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
        store = Path(folder, "store")
        store.mkdir()
        for model in models:
            source, settings = VARIANTS.get(model, (model, {}))
            copy_archive(ARCHIVES / f"{source}.mar", store / f"{model}.mar", settings)
            if with_rollout:
                copy_archive(ARCHIVES / f"{source}.mar", store / f"{model}-{VERSION}.mar", settings, VERSION)
        server = TorchServe.private(Path(folder, "server"), store, models)
        with server.running(drain_timeout_s=0):
            yield Target.of(server)


def chosen(scenarios: Mapping[str, Scenario], options: argparse.Namespace) -> list[Scenario]:
    """The scenarios to run, with what the command line changes in them.

    Raises:
        ScenarioError: there is no such scenario, or a value is out of range.
    """
    names = options.scenario or list(scenarios)
    if unknown := sorted(set(names) - set(scenarios)):
        raise ScenarioError(f"there is no scenario {unknown[0]}; there are {', '.join(scenarios)}")
    found = [scenarios[name].quickly() if options.quick else scenarios[name] for name in names]
    if options.duration:
        found = [replace(scenario, duration_s=options.duration) for scenario in found]
    if options.rate:
        found = [replace(s, rate_hz=options.rate, max_trials=1) if s.is_open else s for s in found]
    return found


@contextmanager
def other_server(options: argparse.Namespace) -> Iterator[Target]:
    """The server that the command line names."""
    management = Management(options.management) if options.management else None
    yield Target(options.server, options.grpc_server, find_keys(), management=management)


def run(options: argparse.Namespace, scenarios: Sequence[Scenario], console: Console) -> LoadTest:
    """Measures everything.

    Raises:
        ServerError, ClientError, DriveError: a server or Locust does not run.
        RuntimeError: the local detector or the loop without a server does not.
    """
    models = list(dict.fromkeys(model for scenario in scenarios for model in scenario.models))
    sources = sorted({VARIANTS.get(model, (model,))[0] for model in models})
    archives = [ARCHIVES / f"{source}.mar" for source in sources]
    with_bare = not options.server and any(scenario.name == "single" for scenario in scenarios)
    bare_s = (QUICK_BARE_S if options.quick else BARE_S) if with_bare else 0.0
    steps = Steps(console, START_S + CHECK_S + sum(scenario.expected_s for scenario in scenarios) + bare_s)
    with steps:
        steps.begin("making clips", 5)
        clips = make_clips(options.clips)
        steps.begin("judging them without a server", START_S - 20)
        reference = reference_of(options.clips, models, archives)
        steps.begin("starting the server", 15)
        rolled_out = any(scenario.kind == "rollout" for scenario in scenarios)
        with other_server(options) if options.server else own_server(models, rolled_out) as target:
            steps.begin("comparing verdicts", CHECK_S)
            runs = [check_verdicts(target, options.clips, reference)]
            driver = Driver(target, options.clips, options.seed, tick=steps.tick)
            for scenario in scenarios if runs[0].is_valid else ():
                steps.begin(scenario.name, scenario.expected_s)
                runs += driver.run(scenario)
        in_process_ms = {}
        if with_bare and runs[0].is_valid:
            steps.begin("the same work without a server", bare_s)
            in_process_ms["ensemble"] = in_process_cpu_ms("ensemble", clips["sample"], bare_s)
    machine = describe_machine(archives)
    rows = fill_in(Evidence.of(runs, ARCHIVES, in_process_ms, bool(machine.gpu)))
    found = facts(runs, {scenario.name: scenario for scenario in scenarios}, driver.brackets, in_process_ms)
    if options.server:
        machine = replace(machine, hardware=f"a server at {options.server}, asked from {machine.hardware}")
    return LoadTest(machine, options.quick, CLIP, tuple(runs), rows, found)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(
        prog="python -m loadtest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--list", action="store_true", help="show the scenarios and how long they take")
    made.add_argument("--scenario", action="append", metavar="NAME", help="this one alone; may be given several times")
    made.add_argument("--quick", action="store_true", help="fewer requests: a look, not a figure")
    made.add_argument("--rate", type=float, metavar="HZ", help="requests a second of open loops, instead of a search")
    made.add_argument("--duration", type=float, metavar="S", help="of the measured part of each run")
    made.add_argument("--seed", type=int, default=1, help="of arrivals, files and models (%(default)s)")
    made.add_argument("--server", metavar="URL", help="HTTP address of a server that runs already")
    made.add_argument("--grpc-server", metavar="HOST:PORT", default="127.0.0.1:7070", help="its gRPC one (%(default)s)")
    made.add_argument("--management", metavar="URL", help="its management address, for `rollout`")
    made.add_argument("--scenarios", type=Path, default=SCENARIOS_FILE, metavar="FILE", help="config/scenarios.yaml")
    made.add_argument("--clips", type=Path, default=OUTPUT / "clips", metavar="DIR", help="where clips are kept")
    made.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="where reports go")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    made = parser()
    options = made.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        scenarios = read_scenarios(options.scenarios)
        if options.list:
            console.print(scenarios_table(scenarios.values()))
            return 0
        wanted = chosen(scenarios, options)
    except (ScenarioError, OSError) as error:
        made.error(str(error))
    for model in ("video", "audio", "ensemble"):
        if not (ARCHIVES / f"{model}.mar").exists():
            made.error(f"archives/{model}.mar is not there; `make archive` builds it")
    if options.server and not options.management:
        if options.scenario and any(scenario.kind == "rollout" for scenario in wanted):
            made.error("rollout registers a version: say --management")
        wanted = [scenario for scenario in wanted if scenario.kind != "rollout"]
    try:
        test = run(options, wanted, console)
    except (ServerError, ClientError, DriveError, RuntimeError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 1
    folder = options.output / f"{datetime.now():%Y-%m-%d-%H%M%S}"
    write_report(test, folder)
    latest = options.output / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(folder.name)
    show(test, console)
    console.print(f"report: {folder / PAGE}", soft_wrap=True)
    return 0 if test.holds else 1


def show(test: LoadTest, console: Console) -> None:
    """Everything that fits a terminal."""
    console.print(runs_table(test.runs))
    for run in test.runs:
        for text in (*run.problems, *run.notes):
            console.print(f"{run.scenario}, {run.label}: {text}", markup=False, highlight=False, soft_wrap=True)
    for name, value in test.facts.items():
        console.print(f"{name}: {value:.4g}", markup=False, highlight=False, soft_wrap=True)
    console.print(rows_table(test.rows))
    console.print(f"{test.machine}; upload: {test.clip}", markup=False, highlight=False, soft_wrap=True)
    console.print(headline(test))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server is stopped, too
    sys.exit(main())
