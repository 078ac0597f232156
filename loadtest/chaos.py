"""What is lost when things go wrong under load: a worker is killed, a queue is full, the server is stopped.

    make chaos
    python -m loadtest.chaos --rounds 3 --callers 8

A private server is started for it; the one of `make serve` is left alone. Each figure stands in a table with a verdict;
the exit status is 0 if nothing was lost but what must be.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from client.padding import unique
from client.retry import ONCE, Retry
from loadtest.measure.machine import describe_machine
from loadtest.measure.results import percentile
from loadtest.runner.load_loops import Call, Traffic
from operations.server import PROJECT_DIR, TorchServe
from samples.clip import make_sample

MODEL = "ensemble"
QUEUE_SIZE = 8
N_CALLERS = 6  # fewer than the queue holds, so that none of them meets a full one
WARM_S = 2.0
READY_LIMIT_S = 60.0
FAST_REFUSAL_S = 1.0
POLL_S = 0.02


@dataclass(frozen=True)
class Row:
    """One thing that was measured, and what it may be at the most."""

    event: str
    figure: str
    value: str
    is_well: bool
    expected: str


def kill_worker(server: TorchServe, clip: bytes, n_callers: int = N_CALLERS) -> list[Row]:
    """Kills the model's worker with SIGKILL under load: which calls are lost, and how soon another one is READY."""
    batch_size = int(server.describe(MODEL)["batchSize"])
    with _traffic(server, clip, n_callers) as traffic:
        time.sleep(WARM_S)
        (pid,) = _pids(server)
        killed_s = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while pid in (now := _pids(server)) or not now:
            time.sleep(POLL_S)
        ready_s = time.perf_counter() - killed_s
        time.sleep(WARM_S)
    lost = [call for call in traffic.calls if not call.is_answer]
    held = traffic.in_flight_at(killed_s)
    waited = [call for call in traffic.calls if call.is_answer and call.sent_s < killed_s + ready_s < call.done_s]
    strangers = [call for call in lost if call not in held]
    longest_s = max((call.done_s - call.sent_s for call in waited), default=0.0)
    return [
        Row("kill -9 of a worker", "calls answered", str(len(traffic.calls) - len(lost)), True, ""),
        Row("", "calls in flight", str(len(held)), True, ""),
        Row("", "calls lost", str(len(lost)), len(lost) <= batch_size, f"at most its batch, {batch_size}"),
        Row("", "lost, but not in flight", str(len(strangers)), not strangers, "0"),
        Row(
            "",
            "what those callers saw",
            _seen(lost),
            all("worker" in call.outcome for call in lost),
            "507 or 500, Worker died",
        ),
        Row(
            "",
            "queued, and answered after it",
            f"{len(waited)}, {longest_s:.1f} s at most",
            bool(waited),
            "all of them",
        ),
        Row("", "time to READY", f"{ready_s:.1f} s", ready_s < READY_LIMIT_S, f"under {READY_LIMIT_S:.0f} s"),
    ]


def fill_queue(server: TorchServe, clip: bytes) -> list[Row]:
    """More callers than the queue holds: those beyond it are told so at once, and come through when they retry."""
    pids = _pids(server)
    n_callers = 3 * QUEUE_SIZE
    with _traffic(server, clip, n_callers) as traffic:
        time.sleep(WARM_S)
    refused = [call for call in traffic.calls if not call.is_answer]
    refusal_s = percentile([call.done_s - call.sent_s for call in refused], 0.95)
    patient = Retry(attempts=40, max_wait_s=120.0)
    with Traffic(
        lambda: server.http_client(retry=patient), lambda: ("good", unique(clip)), MODEL, n_callers
    ) as retried:
        time.sleep(WARM_S / 2)
    failed = [call for call in retried.calls if not call.is_answer]
    is_503 = bool(refused) and all(call.outcome == "503 queue full" for call in refused)
    return [
        Row(
            f"{n_callers} callers, queue of {QUEUE_SIZE}",
            "calls answered",
            str(len(traffic.calls) - len(refused)),
            True,
            "",
        ),
        Row("", "calls turned away", str(len(refused)), bool(refused), "some"),
        Row("", "what those callers saw", _seen(refused), is_503, "503, and why"),
        Row(
            "", "95 % of them knew within", f"{refusal_s:.2f} s", refusal_s < FAST_REFUSAL_S, f"{FAST_REFUSAL_S:.0f} s"
        ),
        Row("", "with the client's retries: failed", f"{len(failed)} of {len(retried.calls)}", not failed, "0"),
        Row("", "workers", "the same" if _pids(server) == pids else "others", _pids(server) == pids, "the same"),
    ]


def stop_under_load(server: TorchServe, clip: bytes, drain: bool = True, n_callers: int = N_CALLERS) -> list[Row]:
    """Stops the server under load: what was sent before is answered, what comes after is told to come again."""
    with _traffic(server, clip, n_callers) as traffic:
        time.sleep(WARM_S)
        stopped_s = time.perf_counter()
        server.stop(drain_timeout_s=30.0 if drain else 0.0)
        took_s = time.perf_counter() - stopped_s
    held = traffic.in_flight_at(stopped_s)
    lost = [call for call in held if not call.is_answer]
    later = [call for call in traffic.between(stopped_s, stopped_s + took_s) if call.outcome == "503 draining"]
    name = "make stop" if drain else "torchserve --stop (SIGTERM), for comparison"
    return [
        Row(name, "calls in flight", str(len(held)), bool(held), "some"),
        Row(
            "",
            "of those lost",
            f"{len(lost)}{f': {_seen(lost)}' if lost else ''}",
            not lost or not drain,
            "0" if drain else "measured",
        ),
        *([Row("", "later calls told to come again", str(len(later)), bool(later), "some")] if drain else []),
        Row("", "time to stop", f"{took_s:.1f} s", server.process is None, "stopped"),
    ]


def short_queued(directory: Path) -> TorchServe:
    """A private server with a short queue."""
    return TorchServe.private(directory, PROJECT_DIR / "archives", [MODEL], settings={"job_queue_size": QUEUE_SIZE})


def table(rows: Sequence[Row]) -> Table:
    """The figures for a terminal."""
    shown = Table("event", "figure", "value", "expected", "", title="chaos")
    for row in rows:
        shown.add_row(row.event, row.figure, row.value, row.expected, "ok" if row.is_well else "[red]NOT OK")
    return shown


def _traffic(server: TorchServe, clip: bytes, n_callers: int) -> Traffic:
    return Traffic(lambda: server.http_client(retry=ONCE), lambda: ("good", unique(clip)), MODEL, n_callers)


def _pids(server: TorchServe) -> list[int]:
    """The workers that are READY."""
    described = server.describe(MODEL) if server.process else None
    return [worker["pid"] for worker in (described or {"workers": []})["workers"] if worker["status"] == "READY"]


def _seen(calls: Sequence[Call]) -> str:
    return ", ".join(sorted({call.outcome for call in calls})) or "nothing"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="workers to kill, one after another (%(default)s)")
    parser.add_argument("--callers", type=int, default=N_CALLERS, help=f"at most {QUEUE_SIZE} (%(default)s)")
    args = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 130)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        clip = make_sample(directory / "clip.mp4", duration_s=4.0, width=480, height=360).read_bytes()
        for drain in (True, False):
            with ExitStack() as running:
                with console.status("starting a server"):
                    server = short_queued(directory / f"torchserve-{drain}")
                    running.enter_context(server.running(drain_timeout_s=0))
                for index in range(args.rounds if drain else 0):
                    with console.status(f"killing a worker, {index + 1} of {args.rounds}"):
                        rows += kill_worker(server, clip, args.callers)
                if drain:
                    with console.status("filling the queue"):
                        rows += fill_queue(server, clip)
                with console.status("stopping the server"):
                    rows += stop_under_load(server, clip, drain, args.callers)
    console.print(str(describe_machine()))
    console.print(table(rows))
    n_bad = sum(not row.is_well for row in rows)
    console.print(
        f"{n_bad} of {len(rows)} figures are not as expected" if n_bad else "nothing was lost but what must be"
    )
    return int(n_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
