"""The benchmark table: rows of config/benchmarks.yaml, filled in from runs, archives and the in-process baseline."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from loadtest.measure.results import Row, Run
from operations.archive import read_archive
from operations.settings import PROJECT_DIR

BENCHMARKS_FILE = PROJECT_DIR / "config" / "benchmarks.yaml"
FIGURE = "balanced_accuracy"


class Measured(NamedTuple):
    """A figure of the table, as in `Row`."""

    value: float | None
    spread: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """What the rows are filled in from.

    Attributes:
        runs: those that count.
        records: model -> `deepdetect.json` of its archive.
        in_process_cpu_ms: model -> processor milliseconds of one clip in a loop without a server.
        has_gpu: whether this machine has one.
    """

    runs: Sequence[Run]
    records: Mapping[str, Mapping[str, Any]]
    in_process_cpu_ms: Mapping[str, float]
    has_gpu: bool

    @classmethod
    def of(cls, runs: Sequence[Run], archives: Path, in_process_cpu_ms: Mapping[str, float], has_gpu: bool) -> Evidence:
        """Reads the archives of the project."""
        records = {model: read_archive(archives / f"{model}.mar").record for model in ("video", "audio", "ensemble")}
        return cls([run for run in runs if run.is_valid], records, in_process_cpu_ms, has_gpu)

    def artifact(self, model: str) -> Mapping[str, Any]:
        return self.records[model]["artifacts"][model]

    def figures(self, model: str, split: str) -> Mapping[str, Any]:
        """variant -> measure -> value, low, high."""
        evaluated = self.artifact(model)["figures"]["splits"].get(split, {})
        return {variant: entry["measures"] for variant, entry in evaluated.items()}

    def of_scenario(self, scenario: str, model: str) -> list[Run]:
        return [run for run in self.runs if (run.scenario, run.model) == (scenario, model) and run.samples]


def accuracy(evidence: Evidence, model: str, variant: str, split: str) -> Measured:
    """Balanced accuracy at the threshold, as the archive states it; with its interval."""
    known = evidence.figures(model, split).get(variant)
    if known is None:
        return Measured(None, note=f"the archive's manifest has no figures of {split}")
    figure, auc = known[FIGURE], known["auc"]
    note = f"ROC-AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]; in brackets 95 % intervals"
    return Measured(figure["value"], (figure["low"], figure["high"]), note)


def accuracy_lost(evidence: Evidence, model: str, split: str) -> Measured:
    """Balanced accuracy of fp32 less that of int8."""
    known = evidence.figures(model, split)
    if not {"fp32", "int8"} <= set(known):
        return Measured(None, note=f"the archive's manifest has no figures of {split}")
    return Measured(known["fp32"][FIGURE]["value"] - known["int8"][FIGURE]["value"])


def agreement(evidence: Evidence, model: str) -> Measured:
    """Share of real inputs on which int8 gives fp32's verdict."""
    entry = evidence.artifact(model)["variants"]["int8"]
    return Measured(entry["agreement"], note=f"on {entry['n_inputs']} clips of val, at the model's threshold")


def size(evidence: Evidence, model: str, variant: str) -> Measured:
    """MiB of the TorchScript file."""
    return Measured(evidence.artifact(model)["variants"][variant]["size_bytes"] / 2**20)


def size_ratio(evidence: Evidence, model: str) -> Measured:
    """Size of int8 over that of fp32."""
    variants = evidence.artifact(model)["variants"]
    return Measured(variants["int8"]["size_bytes"] / variants["fp32"]["size_bytes"])


def latency(evidence: Evidence, model: str) -> Measured:
    """Median milliseconds of a request, one in flight; the median of the rounds, and their extremes."""
    return _median_of(evidence, "single", model, lambda run: 1e3 * run.percentile_s(50))


def speedup(evidence: Evidence, fast: str, slow: str) -> Measured:
    """Time of one model's request over that of another."""
    note = "decoding and finding faces take the same time in both"
    return _ratio(latency(evidence, slow), latency(evidence, fast), note)


def network_speedup(evidence: Evidence, fast: str, slow: str) -> Measured:
    """Time of the forward pass alone, as the answers of both tell it."""

    def forward_ms(run: Run) -> float:
        return 1e3 * statistics.median(sample.timings_s.get("forward", 0.0) for sample in run.samples)

    slower, faster = (_median_of(evidence, "single", model, forward_ms) for model in (slow, fast))
    note = f"{slower.value:.1f} ms and {faster.value:.1f} ms" if slower.value and faster.value else ""
    return _ratio(slower, faster, note)


def repeat(evidence: Evidence) -> Measured:
    """Median milliseconds of a request that the cache answers, one in flight."""
    return _median_of(evidence, "cached", "ensemble", lambda run: 1e3 * run.percentile_s(50, cache="hit"))


def cache_speedup(evidence: Evidence) -> Measured:
    """Median of cache misses over that of cache hits, in the same run."""
    misses = _median_of(evidence, "cached", "ensemble", lambda run: 1e3 * run.percentile_s(50, cache="miss"))
    hits = repeat(evidence)
    return _ratio(misses, hits, "a lone request waits the batch delay, hit or miss")


def length(evidence: Evidence) -> Measured:
    """Time of a clip of ten minutes over that of one of ten seconds."""
    longer = _median_of(evidence, "long", "ensemble", lambda run: 1e3 * run.percentile_s(50))
    return _ratio(longer, latency(evidence, "ensemble"), "")


def overhead(evidence: Evidence, model: str) -> Measured:
    """Processor time of a served request over that of the same clip in a loop of the same engine, one at a time."""
    in_process_ms = evidence.in_process_cpu_ms.get(model)
    served = _median_of(evidence, "single", model, lambda run: run.cpu_ms)
    if in_process_ms is None:
        return Measured(None, note="no loop without a server was run")
    if served.value is None:
        return served
    return _ratio(
        served,
        Measured(in_process_ms),
        f"{served.value:.0f} ms of the server's processes, {in_process_ms:.0f} ms in-process",
    )


def gpu(evidence: Evidence) -> Measured:
    """Not measured by this test."""
    return Measured(None, note="serve on a GPU machine and on its CPU" if evidence.has_gpu else "there is no GPU here")


def mixed_precision(evidence: Evidence) -> Measured:
    """Not measured by this test."""
    found = "training is not part of a load test" if evidence.has_gpu else "there is no GPU here"
    return Measured(None, note=found)


MEASURES: dict[str, Callable[..., Measured]] = {
    measure.__name__: measure
    for measure in (
        accuracy,
        accuracy_lost,
        agreement,
        cache_speedup,
        gpu,
        latency,
        length,
        mixed_precision,
        network_speedup,
        overhead,
        repeat,
        size,
        size_ratio,
        speedup,
    )
}


class TableError(ValueError):
    """config/benchmarks.yaml is wrong; the message names the row and what is allowed."""


def read_rows(path: Path = BENCHMARKS_FILE) -> list[tuple[Row, str, Mapping[str, Any]]]:
    """The rows of the file, with the name of what measures each and its arguments.

    Raises:
        TableError: a row is not what it must be.
    """
    found = []
    for record in yaml.safe_load(path.read_text(encoding="utf-8")):
        where = f"{path.name}: {record.get('name')}, {record.get('quantity')}"
        wanted = {"name", "quantity", "unit", "classic", "target", "bound"}
        if set(record) - {"gates"} != wanted | {"measure"}:
            raise TableError(f"{where} has {sorted(record)}; it must have {sorted(wanted | {'measure'})}")
        if record["bound"] not in ("<=", ">="):
            raise TableError(f"{where}: bound is {record['bound']!r}; allowed: <=, >=")
        ((measure, arguments),) = record["measure"].items()
        if measure not in MEASURES:
            raise TableError(f"{where}: measure is {measure}; allowed: {', '.join(MEASURES)}")
        gates = record.get("gates", True)
        if not isinstance(gates, bool):
            raise TableError(f"{where}: gates is {gates!r}; allowed: true, false")
        found.append((Row(**{name: record[name] for name in wanted}, gates=gates), measure, arguments))
    return found


def fill_in(evidence: Evidence, path: Path = BENCHMARKS_FILE) -> tuple[Row, ...]:
    """The table, with everything measured that could be."""
    rows = []
    for row, measure, arguments in read_rows(path):
        measured, spread, note = MEASURES[measure](evidence, **arguments)
        known = {entry.name: getattr(row, entry.name) for entry in fields(Row)}
        rows.append(Row(**known | {"measured": measured, "spread": spread, "note": note}))
    return tuple(rows)


def _median_of(evidence: Evidence, scenario: str, model: str, figure: Callable[[Run], float]) -> Measured:
    values = [value for run in evidence.of_scenario(scenario, model) if (value := figure(run)) == value]  # no NaN
    if not values:
        return Measured(None, note=f"scenario {scenario} did not measure {model}")
    return Measured(statistics.median(values), (min(values), max(values)) if len(values) > 1 else None)


def _ratio(upper: Measured, lower: Measured, note: str) -> Measured:
    if upper.value is None or lower.value is None:
        return Measured(None, note=upper.note if upper.value is None else lower.note)
    return Measured(upper.value / lower.value, note=note)
