"""What a load test found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from loadtest.measure.results import Row, Run
from loadtest.report.markdown import figure_text, measured_text, spread_text, target_text
from loadtest.workload.scenario import Scenario

COLOURS = {"holds": "green", "missed": "red", "not measured": "yellow"}


def rows_table(rows: Iterable[Row]) -> Table:
    """The benchmark table."""
    table = Table("what", "quantity", "reference", "target", "measured", "spread", "verdict", title="benchmarks")
    for row in rows:
        spread = spread_text(row) if row.spread else ""
        verdict = f"[{COLOURS[row.verdict]}]{row.verdict}"
        table.add_row(row.name, row.quantity, row.classic, target_text(row), measured_text(row), spread, verdict)
    return table


def runs_table(runs: Iterable[Run]) -> Table:
    """A line a run."""
    table = Table("scenario", "run", title="runs")
    for heading in ("requests", "failed", "1/s", "p50 ms", "p95 ms", "CPU ms", "counts"):
        table.add_column(heading, justify="right")
    for run in runs:
        times_ms = [figure_text(1e3 * run.percentile_s(percent)) for percent in (50, 95)]
        counted = [str(len(run.samples)), str(run.n_failed), figure_text(run.throughput_hz)]
        counts = "yes" if run.is_valid else "[red]no"
        table.add_row(run.scenario, run.label, *counted, *times_ms, figure_text(run.cpu_ms), counts)
    return table


def scenarios_table(scenarios: Iterable[Scenario]) -> Table:
    """What there is to run."""
    table = Table("scenario", "kind", "models", "about", "takes", "QUICK=1")
    for each in scenarios:
        takes = [f"{scenario.expected_s:.0f} s" for scenario in (each, each.quickly())]
        table.add_row(each.name, each.kind, ", ".join(each.models), each.about, *takes)
    return table
