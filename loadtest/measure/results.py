"""What a load test measured: each request, each run of a scenario, each row of the benchmark table; and where.

Drivers write them, the report, the gate and the tuner read them. Times are in seconds on one clock, that of the run.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

PERCENTILES = (50, 90, 95, 99)
JUDGED = "judged"


@dataclass(frozen=True)
class Sample:
    """One request.

    Attributes:
        model: who was asked.
        door: over which protocol.
        scheduled_s: when it was meant to be sent: its latency counts from here, however late the caller was.
            Equal to `sent_s` where a caller waits for its last answer before it asks again.
        sent_s, done_s: when it was, and when its answer was there; seconds after the run's start.
        outcome: `judged`, an error code, `wrong answer` (of another upload), `wrong verdict` (not the
            reference's), or the error that the caller saw.
        cache: as the answer says: `hit`, `miss`, `off`; empty where there was none.
        timings_s: stages of the request as the answer tells them, such as `decode`, `faces`, `forward`.
        processing_s: from the worker's first look at the request to its answer, as the answer tells it.
        phase: part of the scenario, such as `before` and `after` a roll-out; empty where it has none.
        expected: the outcome that the reference has for this file: an error, where it is a damaged one.
    """

    model: str
    door: Literal["http", "grpc"]
    scheduled_s: float
    sent_s: float
    done_s: float
    outcome: str
    cache: str = ""
    timings_s: Mapping[str, float] = field(default_factory=dict)
    processing_s: float = 0.0
    phase: str = ""
    expected: str = JUDGED

    @property
    def latency_s(self) -> float:
        """From the time at which it was meant to be sent to its answer."""
        return self.done_s - self.scheduled_s

    @property
    def is_judged(self) -> bool:
        return self.outcome == JUDGED

    @property
    def is_well(self) -> bool:
        """Whether it went as the reference says."""
        return self.outcome == self.expected


@dataclass(frozen=True)
class Usage:
    """What the server's processes used at one moment.

    Attributes:
        at_s: seconds after the run's start.
        cpu_s: processor seconds of all of them since the run's start.
        rss_bytes: their resident memory.
    """

    at_s: float
    cpu_s: float
    rss_bytes: int


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not pass; 0 of none."""
    return float(np.percentile(values, 100 * share, method="higher")) if len(values) else 0.0


@dataclass(frozen=True)
class Run:
    """A scenario under one setting, once.

    Attributes:
        scenario: its name in config/scenarios.yaml.
        label: what tells it from the scenario's other runs, such as `4.0/s`; unique within a scenario.
        model: who was asked, `mixed` for several.
        duration_s: of the measured part, without warm-up.
        samples: every request that was due in that time, of a closed loop every one that ended in it; failed ones
            included.
        usage: of the server's processes, every half second or so; the first at 0.
        rate_hz: the scheduled rate of an open loop; None where callers wait for their answers.
        n_callers: that wait for their answers; None in an open loop.
        settings: what was set for this run alone, such as batch size and workers.
        problems: why it doesn't count, one sentence each; empty where it does.
        notes: what a reader should know though it counts, such as a caller that was short of processor time.
        n_scheduled: requests that an open loop had to send in `duration_s`; None where nobody counted.
    """

    scenario: str
    label: str
    model: str
    duration_s: float
    samples: tuple[Sample, ...]
    usage: tuple[Usage, ...] = ()
    rate_hz: float | None = None
    n_callers: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    n_scheduled: int | None = None

    @property
    def is_valid(self) -> bool:
        return not self.problems

    @cached_property
    def outcomes(self) -> Counter[str]:
        """How often each outcome was seen."""
        return Counter(sample.outcome for sample in self.samples)

    @property
    def n_failed(self) -> int:
        """Requests that did not go as the reference says."""
        return sum(not sample.is_well for sample in self.samples)

    def latencies_s(self, **wanted: str) -> np.ndarray:
        """Sorted latencies of the judged requests, those alone whose attributes are `wanted` (cache="hit")."""
        chosen = [
            sample.latency_s
            for sample in self.samples
            if sample.is_judged and all(getattr(sample, name) == value for name, value in wanted.items())
        ]
        return np.sort(np.array(chosen, dtype=float))

    def percentile_s(self, percent: float, **wanted: str) -> float:
        """A latency that this percentage of the judged requests does not pass; NaN of none."""
        latencies = self.latencies_s(**wanted)
        return float(np.percentile(latencies, percent, method="higher")) if len(latencies) else float("nan")

    @property
    def throughput_hz(self) -> float:
        """Judged requests a second; of an open loop from the first one's schedule to the last one's answer."""
        judged = [sample for sample in self.samples if sample.is_judged]
        if not judged:
            return 0.0
        if self.rate_hz is None:
            return len(judged) / self.duration_s
        span_s = max(sample.done_s for sample in judged) - min(sample.scheduled_s for sample in judged)
        return len(judged) / span_s if span_s > 0 else 0.0

    @property
    def reached(self) -> float | None:
        """Share of the scheduled rate at which requests were really sent; None in a closed loop."""
        if self.rate_hz is None or not self.duration_s or self.n_scheduled == 0:
            return None
        n_sent = sum(sample.sent_s <= self.duration_s for sample in self.samples)
        return n_sent / (self.n_scheduled or self.rate_hz * self.duration_s)

    @property
    def cpu_ms(self) -> float:
        """Processor milliseconds of the server's processes for each judged request; NaN where it was not watched."""
        if not self.usage or not self.outcomes[JUDGED]:
            return float("nan")
        return 1e3 * (self.usage[-1].cpu_s - self.usage[0].cpu_s) / self.outcomes[JUDGED]

    @property
    def peak_rss_bytes(self) -> int:
        return max((moment.rss_bytes for moment in self.usage), default=0)

    def stages_s(self) -> dict[str, float]:
        """Mean seconds of each stage of the judged requests; `queue` is the latency less the answer's own time."""
        judged = [sample for sample in self.samples if sample.is_judged]
        if not judged:
            return {}
        names = {name: None for sample in judged for name in sample.timings_s}
        queue = np.mean([max(0.0, sample.latency_s - sample.processing_s) for sample in judged])
        stages = {name: float(np.mean([sample.timings_s.get(name, 0.0) for sample in judged])) for name in names}
        return {"queue": float(queue), **stages}

    def summary(self) -> dict[str, Any]:
        """The figures of one line in a table."""
        percentiles = {f"p{percent}_ms": 1e3 * self.percentile_s(percent) for percent in PERCENTILES}
        return {
            "scenario": self.scenario,
            "run": self.label,
            "model": self.model,
            "n": len(self.samples),
            "n_failed": self.n_failed,
            "rate_hz": self.rate_hz,
            "reached": self.reached,
            "throughput_hz": self.throughput_hz,
            **percentiles,
            "cpu_ms": self.cpu_ms,
            "peak_rss_mib": self.peak_rss_bytes / 2**20,
            "valid": self.is_valid,
        }


@dataclass(frozen=True)
class Row:
    """One row of the benchmark table.

    Attributes:
        name: what is measured, such as `video quantized`.
        quantity: of it, such as `accuracy`, `latency p50`, `size`.
        unit: of all its values, such as `ms`, `MiB`, `share`; empty for ratios.
        classic: the reference: what is claimed of such systems, in words.
        target: what we want to hold.
        bound: whether the target is the most (`<=`) or the least (`>=`) that holds.
        measured: None where it could not be measured here.
        spread: smallest and largest of its repetitions, or an interval; None of one.
        note: why it was not measured, or what bounds it; how it was measured.
        gates: whether `make loadtest` fails where it is missed; False of what the models are worth and others claim.
    """

    name: str
    quantity: str
    unit: str
    classic: str
    target: float
    bound: Literal["<=", ">="]
    measured: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ""
    gates: bool = True

    @property
    def verdict(self) -> Literal["holds", "missed", "not measured"]:
        if self.measured is None:
            return "not measured"
        holds = self.measured <= self.target if self.bound == "<=" else self.measured >= self.target
        return "holds" if holds else "missed"


@dataclass(frozen=True)
class Machine:
    """Where and with what it was measured.

    Attributes:
        hardware: processor and how many cores of it.
        memory_gib: of the machine.
        gpu: its name; empty where there is none.
        versions: of Python and the packages that matter, by name.
        date: of the measurement, ISO.
        archives: SHA-256 of each archive served, by model.
    """

    hardware: str
    memory_gib: float
    gpu: str
    versions: Mapping[str, str]
    date: str
    archives: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.hardware}{f', {self.gpu}' if self.gpu else ''}; {versions}; {self.date}"


@dataclass(frozen=True)
class LoadTest:
    """Everything that one `make loadtest` measured.

    Attributes:
        quick: whether it took fewer requests than a published figure needs.
        clip: what was uploaded, in words: duration, size, codec, bytes.
        facts: single figures beside the runs, such as the highest rate within a latency, or a cache's hit ratio.
    """

    machine: Machine
    quick: bool
    clip: str
    runs: tuple[Run, ...] = ()
    rows: tuple[Row, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every run counts and no measured row that gates missed its target."""
        return all(run.is_valid for run in self.runs) and not any(row.gates for row in self.missed)

    @property
    def missed(self) -> list[Row]:
        """The rows that missed their target."""
        return [row for row in self.rows if row.verdict == "missed"]

    def save(self, path: Path) -> None:
        """Write it as JSON; NaN becomes null."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_without_nan(asdict(self)), separators=(",", ":")))

    @classmethod
    def load(cls, path: Path) -> LoadTest:
        """Read what `save` wrote; raises OSError, ValueError (no JSON) or TypeError (other fields)."""
        raw = json.loads(path.read_text())
        runs = tuple(
            Run(
                **run
                | {
                    "samples": tuple(Sample(**sample) for sample in run["samples"]),
                    "usage": tuple(Usage(**moment) for moment in run["usage"]),
                    "problems": tuple(run["problems"]),
                    "notes": tuple(run["notes"]),
                }
            )
            for run in raw["runs"]
        )
        rows = tuple(Row(**row | {"spread": row["spread"] and tuple(row["spread"])}) for row in raw["rows"])
        return cls(**raw | {"machine": Machine(**raw["machine"]), "runs": runs, "rows": rows})


def write_samples(runs: Iterable[Run], path: Path) -> None:
    """Every request as a line of CSV; its stages in columns of their own."""
    runs = list(runs)
    stages = sorted({name for run in runs for sample in run.samples for name in sample.timings_s})
    names = [entry.name for entry in fields(Sample) if entry.name != "timings_s"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["scenario", "run", *names, *(f"{stage}_s" for stage in stages)])
        for run in runs:
            for sample in run.samples:
                values = [getattr(sample, name) for name in names]
                writer.writerow(
                    [run.scenario, run.label, *values, *(sample.timings_s.get(name, "") for name in stages)]
                )


def write_summaries(runs: Sequence[Run], path: Path) -> None:
    """Every run as a line of CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(runs[0].summary()) if runs else ["scenario"])
        writer.writeheader()
        writer.writerows(run.summary() for run in runs)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return value
