"""Runs one scenario against a server: starts Locust, watches the server's processes, puts together what was measured.

Locust runs in processes of its own, as it does by hand: gevent's changes to the standard library stay there.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from client.keys import KeySource
from client.management import Management
from loadtest.measure.results import Run, Sample
from loadtest.measure.usage import Watch
from loadtest.runner.rate_search import Bracket, largest_rate
from loadtest.runner.rollout import Rollout
from loadtest.workload.recording import Recorded, read_recorded
from loadtest.workload.reference import WRONG_ANSWER, WRONG_VERDICT
from loadtest.workload.scenario import START_S, Scenario
from operations.server import TorchServe
from operations.settings import PROJECT_DIR

LEAST_REACHED = 0.95
BUSY = 0.8  # share of a core from which a caller may be what is measured
LATE_S = 0.05
FINISH_S = 90  # how long what is in flight may take when the time is up
TICK_S = 0.25


class DriveError(RuntimeError):
    """Locust did not run; the message is what it said."""


@dataclass(frozen=True)
class Target:
    """The server under load.

    Attributes:
        inference, grpc_inference: its addresses.
        keys: with which it is asked.
        environment: where Locust finds them.
        management: its management API; None where it cannot be reached, and nothing is rolled out.
        pid: the root of its processes on this machine; None where it runs elsewhere, and its use is not known.
    """

    inference: str
    grpc_inference: str
    keys: KeySource
    environment: Mapping[str, str] = field(default_factory=dict)
    management: Management | None = None
    pid: int | None = None

    @classmethod
    def of(cls, server: TorchServe) -> Target:
        """A server of this machine."""
        environment = {"DEEPDETECT_MANAGEMENT_ADDRESS": server.management}
        if path := getattr(server.keys, "path", None):
            environment["DEEPDETECT_KEY_FILE"] = str(path)
        management, pid = server.management_api, server.process.pid
        return cls(server.inference, server.grpc_inference, server.keys, environment, management, pid)


Tick = Callable[[str, float], None]  # what is running, and how many seconds of it went by since the last call


@dataclass
class Driver:
    """Runs scenarios, one after another.

    Attributes:
        clips: folder of the clips and of their reference.
        seed: of the first run; every further one has the next.
        settings: what was set on the server for these runs alone; noted in each.
        tick: told how far it is.
        brackets: run of a `server` -> between which rates it stops keeping its latency.
    """

    target: Target
    clips: Path
    seed: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    tick: Tick = lambda text, seconds: None
    brackets: dict[str, Bracket] = field(default_factory=dict)

    def run(self, scenario: Scenario) -> list[Run]:
        """All runs of a scenario: each model that it runs by itself, in turns where there are rounds.

        Raises:
            DriveError: Locust did not run.
        """
        runs: list[Run] = []
        for number in range(1, scenario.rounds + 1):
            for each in scenario.each():
                label = each.label + (f", {number}" if scenario.rounds > 1 else "")
                if scenario.kind == "server":
                    runs += self.search(each, label)
                else:
                    runs.append(self.once(each, label))
        return runs

    def search(self, scenario: Scenario, label: str) -> list[Run]:
        """The runs that bisect for the largest rate; `brackets` tells between which two it lies."""
        runs: list[Run] = []

        def holds(rate_hz: float) -> bool:
            runs.append(self.once(replace(scenario, rate_hz=rate_hz), f"{label} {rate_hz:.2f}/s"))
            return keeps(runs[-1], scenario.slo_p95_s)

        self.brackets[label] = largest_rate(holds, scenario.rate_hz, scenario.precision, scenario.max_trials)
        return runs

    def once(self, scenario: Scenario, label: str) -> Run:
        """One run."""
        text = f"{scenario.name}: {label}"
        rollout = Rollout(self.target.management, scenario, START_S) if scenario.kind == "rollout" else None
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loadtest-")))
            watch = stack.enter_context(Watch(self.target.pid)) if self.target.pid else None
            with self._locust(scenario, folder) as locust:
                if rollout:
                    stack.enter_context(rollout)
                _wait(locust, lambda seconds: self.tick(text, seconds))
            recorded = read_recorded(folder / "samples")
            said = (folder / "locust.log").read_text()
            if not recorded.starts_s:
                raise DriveError(f"{text}: Locust ended with {locust.returncode}:\n{said[-2_000:]}")
        self.seed += 1
        start_s = max(recorded.starts_s) + scenario.warm_up_s
        end_s, n_due = start_s + scenario.duration_s, None
        if scenario.is_open:
            samples, n_due = recorded.due_between(start_s, end_s)
            end_s = max([end_s, *(start_s + sample.done_s for sample in samples)])
        else:
            samples = recorded.answered_between(start_s, end_s)
        run = Run(
            scenario=scenario.name,
            label=label,
            model=scenario.label,
            duration_s=scenario.duration_s,
            samples=tuple(replace(sample, phase=_phase(scenario, sample, rollout, start_s)) for sample in samples),
            usage=watch.between(start_s, end_s) if watch else (),
            rate_hz=_rate_hz(scenario),
            n_callers=None if scenario.is_open else scenario.callers,
            settings=dict(self.settings) | ({"slo_ms": 1e3 * scenario.slo_p95_s} if scenario.slo_p95_s else {}),
            n_scheduled=n_due,
        )
        return replace(
            run, problems=(*problems(run), *(rollout.problems if rollout else ())), notes=notes(run, recorded)
        )

    @contextmanager
    def _locust(self, scenario: Scenario, folder: Path) -> Iterator[subprocess.Popen]:
        written = folder / "scenarios.yaml"
        written.write_text(yaml.safe_dump({scenario.name: scenario.to_dict()}))
        options = {
            "-f": PROJECT_DIR / "loadtest" / "locustfile.py",
            "--users": scenario.callers,
            "--spawn-rate": 100,  # all at once
            "--run-time": f"{math.ceil(scenario.warm_up_s + scenario.duration_s + 0.5)}s",
            "--stop-timeout": FINISH_S,
            "--host": self.target.inference,
            "--grpc-host": self.target.grpc_inference,
            "--scenario": scenario.name,
            "--scenarios": written,
            "--random-seed": self.seed,
            "--clips": self.clips,
            "--samples": folder / "samples",
        }
        command = [
            sys.executable,
            "-m",
            "locust",
            "--headless",
            "--only-summary",
            "--exit-code-on-error",
            "0",
            "--once",
        ]
        command += [str(part) for option in options.items() for part in option]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with (folder / "locust.log").open("w") as log:
            locust = subprocess.Popen(
                command, cwd=PROJECT_DIR, env=environment | dict(self.target.environment), stdout=log, stderr=log
            )
            try:
                yield locust
            finally:
                if locust.poll() is None:
                    locust.kill()
                locust.wait()


def keeps(run: Run, slo_p95_s: float) -> bool:
    """Whether 95 of 100 requests that were due were judged within the time; what was refused or never sent is late."""
    n_due = run.n_scheduled or len(run.samples)
    n_in_time = sum(sample.is_well and sample.latency_s <= slo_p95_s for sample in run.samples)
    return n_due > 0 and n_in_time >= 0.95 * n_due


def problems(run: Run, *, may_fail: bool = False) -> list[str]:
    """Why a run does not count: wrong verdicts, failed requests (unless they may), a rate that was not reached."""
    if not run.samples:
        return ["no request was answered in the measured time"]
    found = []
    n_wrong = run.outcomes[WRONG_VERDICT] + run.outcomes[WRONG_ANSWER]
    if n_wrong:
        found.append(f"{n_wrong} of {len(run.samples)} answers are not those of the reference")
    outcomes = Counter(sample.outcome for sample in run.samples if not sample.is_well)
    failed = {outcome: n for outcome, n in outcomes.items() if outcome not in (WRONG_VERDICT, WRONG_ANSWER)}
    if failed and not may_fail:
        named = ", ".join(f"{n} {outcome}" for outcome, n in failed.items())
        found.append(f"{sum(failed.values())} of {len(run.samples)} requests failed: {named}")
    if run.reached is not None and run.reached < LEAST_REACHED:
        found.append(f"only {run.reached:.0%} of the scheduled rate was reached; {LEAST_REACHED:.0%} must be")
    return found


def notes(run: Run, recorded: Recorded) -> tuple[str, ...]:
    """Signs that the callers, rather than the server, are what was measured."""
    found = []
    if recorded.busy and max(recorded.busy) > BUSY:
        found.append(f"a caller's process took {max(recorded.busy):.0%} of a core: give it --processes")
    late_s = sorted(sample.sent_s - sample.scheduled_s for sample in run.samples)
    if late_s and (p95_s := late_s[int(0.95 * len(late_s))]) > LATE_S:
        found.append(f"one request in twenty was sent {1e3 * p95_s:.0f} ms late or more; its latency counts that")
    return tuple(found)


def _rate_hz(scenario: Scenario) -> float | None:
    """Requests a second that were scheduled; those of a burst are among them."""
    if not scenario.is_open:
        return None
    return scenario.rate_hz + (scenario.burst_size or 0) / scenario.duration_s


def _phase(scenario: Scenario, sample: Sample, rollout: Rollout | None, start_s: float) -> str:
    if rollout:
        return rollout.phase(start_s + sample.sent_s)
    if scenario.kind == "burst":
        return "quiet" if sample.scheduled_s < scenario.burst_at_s else "burst"
    return ""


def _wait(locust: subprocess.Popen, tick: Callable[[float], None]) -> None:
    last_s = time.perf_counter()
    while True:
        try:
            locust.wait(TICK_S)
            return
        except subprocess.TimeoutExpired:
            now_s = time.perf_counter()
            tick(now_s - last_s)
            last_s = now_s
