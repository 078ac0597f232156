"""How long uploads wait as a server fills: what docs/scaling.md counts replicas from.

    python -m loadtest.queueing --model ensemble

A private server is started for it. A closed loop tells what it can do at most; then uploads come as they come (Poisson)
at shares of that. The table has what an autoscaler would see, the mean number waiting, beside what callers saw.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from loadtest.measure.machine import describe_machine
from loadtest.measure.results import Run
from loadtest.runner.load_loops import Load
from operations.server import TorchServe
from operations.settings import PROJECT_DIR
from samples.clip import make_sample

SHARES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
N_CALLERS = 8  # fill two batches
WAITED = "ts_queue_latency_microseconds"


@dataclass(frozen=True)
class Step:
    """What was measured at one rate.

    Attributes:
        share: of the largest rate.
        n_waiting: uploads that waited at a time, on average, as the scaling query counts them.
    """

    share: float
    run: Run
    n_waiting: float

    @property
    def wait_s(self) -> float:
        """Mean wait in the queue, by Little's law."""
        return self.n_waiting / (len(self.run.samples) / self.run.duration_s)


def measure(server: TorchServe, model: str, clip: bytes, n_requests: int, seed: int) -> Iterator[tuple[float, Step]]:
    """(largest rate in uploads a second, what was found at a share of it), for each share."""
    load = Load(server, model, clip, "queueing")
    load.closed("warm", n_requests=2 * N_CALLERS, n_callers=N_CALLERS)
    full = load.closed("full", n_requests=n_requests, n_callers=N_CALLERS)
    rate_hz = len(full.samples) / full.duration_s
    for index, share in enumerate(SHARES):
        before_s = waited_s(server, model)
        run = load.opened(f"{share}", n_requests=n_requests, rate_hz=share * rate_hz, seed=seed + index)
        yield rate_hz, Step(share, run, (waited_s(server, model) - before_s) / run.duration_s)


def waited_s(server: TorchServe, model: str) -> float:
    """Seconds that all requests of the model have waited since the server started."""
    text = requests.get(f"{server.metrics}/metrics", params={"name[]": WAITED}, timeout=10).text
    values = re.findall(rf'^{WAITED}{{[^}}]*model_name="{model}"[^}}]*}} (\S+)$', text, flags=re.MULTILINE)
    return sum(map(float, values)) / 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.queueing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ensemble", help="(%(default)s)")
    parser.add_argument("--clip", type=Path, help="what is sent; default: ten seconds of 720p, made for it")
    parser.add_argument("--requests", type=int, default=150, help="at each rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    args = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(
        "of the largest rate", "uploads/s", "waiting", "mean wait", "p50", "p95", "p99", "failed", title=args.model
    )
    with tempfile.TemporaryDirectory() as folder:
        clip = (args.clip or make_sample(Path(folder) / "clip.mp4")).read_bytes()
        server = TorchServe.private(Path(folder) / "server", PROJECT_DIR / "archives", [args.model])
        with server.running(drain_timeout_s=0):
            for rate_hz, step in measure(server, args.model, clip, args.requests, args.seed):
                p50, p95, p99 = (f"{step.run.percentile_s(percent):.2f} s" for percent in (50, 95, 99))
                shown = (
                    f"{step.share:.0%}",
                    f"{step.share * rate_hz:.2f}",
                    f"{step.n_waiting:.2f}",
                    f"{step.wait_s:.2f} s",
                )
                table.add_row(*shown, p50, p95, p99, str(step.run.n_failed))
                print(f"{step.share:.0%} of {rate_hz:.2f}/s: {step.n_waiting:.2f} wait, p95 {p95}", file=sys.stderr)
    console.print(str(describe_machine()))
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
