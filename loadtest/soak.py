"""Hours of mixed load on a real server, in minutes at least: does a worker's memory grow, does anything go wrong?

    make soak                         10 minutes (SOAK_MINUTES=60 for more)
    python -m loadtest.soak --minutes 60 --callers 2

A private server is started; good files, repeated ones (which the cache answers) and hostile ones (of tests/hostile) go
to its three models. The memory of each worker is read every few seconds: RSS, which nobody else changes, and PSS, its
own pages and its share of common ones, which is what the machine must have for it. The first half, in which caches and
the allocator fill up, is not measured. Through the RSS of the rest a line is laid by least squares; what it rises by is
the growth. build/soak.csv and build/soak.png hold the course.
The exit status is 1 if a worker grew by more than the bound, died, or if a call failed.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from client.padding import unique
from loadtest.measure.machine import describe_machine
from loadtest.measure.results import percentile
from loadtest.runner.load_loops import Call, Traffic
from operations.server import PROJECT_DIR, TorchServe
from samples.clip import make_sample

MODELS = ("video", "audio", "ensemble")
MIX = {"good": 0.4, "repeated": 0.2, "hostile": 0.4}
MAX_HOSTILE_BYTES = 2_000_000  # larger ones measure the network
WARM_UP = 0.5  # part of the time that is not measured
SAMPLE_S = 5.0
BOUND_MIB = 30.0  # growth of one worker over the measured time
MIB = 2**20
REPORT_DIR = PROJECT_DIR / "build"


@dataclass(frozen=True)
class Sample:
    """The memory of one worker at one time."""

    time_s: float  # since the load began
    model: str
    pid: int
    pss_mib: float
    rss_mib: float


@dataclass(frozen=True)
class Growth:
    """What became of one worker's memory over the measured time.

    Attributes:
        start_mib, end_mib: RSS, on the fitted line.
        slope_mib_per_h: of that line.
        peak_mib: highest RSS that was read, the first half included.
        pss_mib: the last that was read.
    """

    model: str
    n_pids: int
    start_mib: float
    end_mib: float
    peak_mib: float
    pss_mib: float
    slope_mib_per_h: float

    @property
    def grown_mib(self) -> float:
        return self.end_mib - self.start_mib


def growth(samples: Sequence[Sample], from_s: float) -> list[Growth]:
    """The line through each worker's RSS from a time on, by least squares."""
    found = []
    for model in sorted({sample.model for sample in samples}):
        of_model = [sample for sample in samples if sample.model == model]
        measured = [sample for sample in of_model if sample.time_s >= from_s]
        times_s = np.array([sample.time_s for sample in measured])
        slope, offset = np.polyfit(times_s, [sample.rss_mib for sample in measured], 1)
        start_mib, end_mib = offset + slope * times_s[[0, -1]]
        n_pids = len({sample.pid for sample in of_model})
        peak_mib = max(sample.rss_mib for sample in of_model)
        found.append(Growth(model, n_pids, start_mib, end_mib, peak_mib, measured[-1].pss_mib, slope * 3600))
    return found


def draw_from(clip: bytes, hostile: Sequence[bytes], seed: int) -> Callable[[], tuple[str, bytes]]:
    """The next file of the mix, for many callers at once."""
    dice, lock = random.Random(seed), threading.Lock()

    def draw() -> tuple[str, bytes]:
        with lock:
            (kind,) = dice.choices(list(MIX), list(MIX.values()))
            bad = dice.choice(hostile)
        return kind, {"good": unique(clip), "repeated": clip, "hostile": bad}[kind]

    return draw


def soak(server: TorchServe, duration_s: float, n_callers: int, seed: int) -> tuple[list[Sample], list[Call]]:
    """Keeps the server under load, and reads its workers' memory meanwhile."""
    from tests.hostile.corpus import crafted, mutated  # only here: the corpus is the tests'

    with tempfile.TemporaryDirectory() as folder:
        clip = make_sample(Path(folder, "clip.mp4"), duration_s=4.0, width=480, height=360).read_bytes()
    hostile = [data for _, data in (*crafted(), *mutated(1_000, seed)) if len(data) <= MAX_HOSTILE_BYTES]
    draw, samples = draw_from(clip, hostile, seed), []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with ExitStack() as running, Progress(*columns) as progress:
        traffics = [running.enter_context(Traffic(server.http_client, draw, model, n_callers)) for model in MODELS]
        task = progress.add_task("soaking", total=duration_s)
        started_s = time.perf_counter()
        while (now_s := time.perf_counter() - started_s) < duration_s:
            samples += [_read(now_s, model, pid) for model, pid in _workers(server) if psutil.pid_exists(pid)]
            n_calls = sum(len(traffic.calls) for traffic in traffics)
            progress.update(task, completed=now_s, description=f"soaking, {n_calls} calls")
            time.sleep(SAMPLE_S)
    return samples, [call for traffic in traffics for call in traffic.calls]


def failures(calls: Sequence[Call]) -> list[Call]:
    """Calls that should have gone otherwise: a good file that was not judged, or any that got no answer."""
    return [call for call in calls if not call.is_answer or (call.kind != "hostile" and call.outcome != "judged")]


def growth_table(grown: Sequence[Growth], measured_s: float, bound_mib: float) -> Table:
    """The workers' memory for a terminal."""
    minutes = f"the last {measured_s / 60:.1f} minutes"
    title = f"memory of each worker over {minutes}; it may grow by {bound_mib:g} MiB"
    table = Table(
        "worker", "RSS start", "RSS end", "growth", "slope", "RSS peak", "PSS end", "restarts", "", title=title
    )
    for each in grown:
        mib = [f"{value:.0f} MiB" for value in (each.start_mib, each.end_mib)]
        rest = [f"{value:.0f} MiB" for value in (each.peak_mib, each.pss_mib)]
        is_well = each.grown_mib <= bound_mib and each.n_pids == 1
        table.add_row(
            each.model,
            *mib,
            f"{each.grown_mib:+.1f} MiB",
            f"{each.slope_mib_per_h:+.0f} MiB/h",
            *rest,
            str(each.n_pids - 1),
            "ok" if is_well else "[red]NOT OK",
        )
    return table


def calls_table(calls: Sequence[Call], duration_s: float) -> Table:
    """What was sent and what came back, for a terminal."""
    table = Table(
        "sent", "calls", "p50", "p95", "outcomes", title=f"{len(calls)} calls in {duration_s / 60:.1f} minutes"
    )
    for kind in MIX:
        of_kind = [call for call in calls if call.kind == kind]
        latencies_s = [call.done_s - call.sent_s for call in of_kind]
        outcomes = Counter(call.outcome for call in of_kind)
        shown = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
        table.add_row(
            kind, str(len(of_kind)), *(f"{percentile(latencies_s, part):.2f} s" for part in (0.5, 0.95)), shown
        )
    return table


def write_report(samples: Sequence[Sample], from_s: float) -> None:
    """build/soak.csv and build/soak.png: the memory of each worker over time."""
    REPORT_DIR.mkdir(exist_ok=True)
    with (REPORT_DIR / "soak.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_s", "model", "pid", "pss_mib", "rss_mib"])
        writer.writerows((f"{s.time_s:.1f}", s.model, s.pid, f"{s.pss_mib:.1f}", f"{s.rss_mib:.1f}") for s in samples)
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        lines[sample.model].append((sample.time_s / 60, sample.rss_mib))
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes of load", ylabel="RSS, MiB", title="memory of each worker")
    for model, points in lines.items():
        axes.plot(*zip(*points, strict=True), label=model)
    axes.axvspan(0, from_s / 60, alpha=0.1, label="not measured")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(REPORT_DIR / "soak.png")


def _workers(server: TorchServe) -> list[tuple[str, int]]:
    found = []
    for model in MODELS:
        described = server.management_api.default(model)
        found += [(model, worker.pid) for worker in described.workers if worker.status == "READY"]
    return found


def _read(time_s: float, model: str, pid: int) -> Sample:
    memory = psutil.Process(pid).memory_full_info()
    return Sample(time_s, model, pid, memory.pss / MIB, memory.rss / MIB)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="how long (%(default)g); shorter, and caches still fill"
    )
    parser.add_argument("--callers", type=int, default=1, help="callers of each of the three models (%(default)s)")
    parser.add_argument("--bound-mib", type=float, default=BOUND_MIB, help="growth a worker is allowed (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of the mix and of the hostile files (%(default)s)")
    args = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 150)
    duration_s = 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        server = TorchServe.private(Path(folder), PROJECT_DIR / "archives", MODELS)
        with console.status("starting a server"):
            running.enter_context(server.running())
        samples, calls = soak(server, duration_s, args.callers, args.seed)
    from_s = WARM_UP * duration_s
    grown = growth(samples, from_s)
    write_report(samples, from_s)
    console.print(str(describe_machine()))
    console.print(growth_table(grown, duration_s - from_s, args.bound_mib))
    console.print(calls_table(calls, duration_s))
    failed = failures(calls)
    console.print(f"{len(failed)} of {len(calls)} calls went wrong; the course is in build/soak.csv and build/soak.png")
    has_grown = any(each.grown_mib > args.bound_mib or each.n_pids > 1 for each in grown)
    return int(has_grown or bool(failed))


if __name__ == "__main__":
    sys.exit(main())
