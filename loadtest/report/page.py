"""A load test as a folder: one page that needs nothing beside it, the figures as CSV, the table as Markdown.

write_report(test, Path("build/loadtest/latest"))
python -m loadtest.report.page build/loadtest/latest      writes the page anew, from loadtest.json
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from loadtest.measure.results import PERCENTILES, LoadTest, Row, Run, write_samples, write_summaries
from loadtest.report import plots as figures
from loadtest.report.markdown import benchmark_table, figure_text, measured_text, spread_text, target_text
from reports.page import environment

RECORD = "loadtest.json"
PAGE = "index.html"
TABLE = "benchmarks.md"

# Caption, and what draws it.
FIGURES: tuple[tuple[str, Callable[[Sequence[Run]], str]], ...] = (
    (
        "Latency: how many requests took how long, and the share that was answered within a time. "
        "Marked: p50, p90, p95, p99.",
        figures.latency_distribution,
    ),
    ("Against the rate of an open loop: what was answered, and how late.", figures.rate_curves),
    (
        "Where a request's time went. Queue is what lies outside of the handler: the network, TorchServe's queue and "
        "its batch delay; rest is what the handler spent beyond the stages, such as waiting for its batch.",
        figures.stage_shares,
    ),
    ("Latency over time: a point a request, a cross for one that failed.", figures.latency_over_time),
    ("Cores in use and resident memory of the server's processes.", figures.usage_over_time),
)


@dataclass(frozen=True)
class Scenario:
    """A section of the page: the runs of one scenario, and its figures as caption and `<svg>`."""

    name: str
    runs: tuple[Run, ...]
    figures: tuple[tuple[str, Markup], ...]


def write_report(test: LoadTest, folder: Path) -> None:
    """Writes index.html, loadtest.json, samples.csv, runs.csv, benchmarks.csv and benchmarks.md; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    test.save(folder / RECORD)
    write_samples(test.runs, folder / "samples.csv")
    write_summaries(test.runs, folder / "runs.csv")
    _write_rows(test.rows, folder / "benchmarks.csv")
    (folder / TABLE).write_text(benchmark_table(test), encoding="utf-8")
    (folder / PAGE).write_text(page(test), encoding="utf-8")


def templates() -> Environment:
    """Those of this folder, and how a figure is written."""
    found = environment(Path(__file__).parent)
    found.filters["figure"] = figure_text
    return found


def page(test: LoadTest) -> str:
    """The HTML."""
    made = templates()
    made.filters |= {
        "target": target_text,
        "measured": measured_text,
        "spread": spread_text,
        "load": _load,
        "parts": _parts,
        "percentile": lambda latencies_ms, percent: float(np.percentile(latencies_ms, percent, method="higher")),
        "outcomes": _outcomes,
        "well_percent": lambda run: round(100 * (1 - run.n_failed / max(1, len(run.samples))), 1),
        "verdict_class": {"holds": "holds", "missed": "missed", "not measured": "unmeasured"}.__getitem__,
    }
    return made.get_template("page.html").render(
        test=test,
        percentiles=PERCENTILES,
        headline=headline(test),
        scenarios=_scenarios(test.runs),
    )


def headline(test: LoadTest) -> str:
    """What came of it, in a sentence or two."""
    verdicts = [row.verdict for row in test.rows]
    n_measured = len(verdicts) - verdicts.count("not measured")
    sentences = []
    if verdicts:
        sentences.append(f"{verdicts.count('holds')} of {n_measured} measured targets hold")
        if n_measured < len(verdicts):
            sentences[-1] += f"; {len(verdicts) - n_measured} could not be measured here"
        if gating := [row for row in test.missed if row.gates]:
            sentences.append(f"Missed: {_named(gating)}")
        if others := [row for row in test.missed if not row.gates]:
            sentences.append(f"Missed, which does not fail the run: {_named(others)}")
    n_void = sum(not run.is_valid for run in test.runs)
    n_requests = sum(len(run.samples) for run in test.runs)
    void = f", of which {n_void} {'does' if n_void == 1 else 'do'} not count" if n_void else ""
    sentences.append(f"{n_requests:,} requests in {len(test.runs)} run{'s' * (len(test.runs) != 1)}{void}")
    return ". ".join(sentences) + "."


def _named(rows: Sequence[Row]) -> str:
    return "; ".join(f"{row.name}, {row.quantity}" for row in rows)


def _scenarios(runs: Sequence[Run]) -> list[Scenario]:
    found = []
    for name in dict.fromkeys(run.scenario for run in runs):
        chosen = tuple(run for run in runs if run.scenario == name)
        drawn = [(caption, draw(chosen)) for caption, draw in FIGURES]
        found.append(Scenario(name, chosen, tuple((caption, Markup(svg)) for caption, svg in drawn if svg)))
    return found


def _parts(run: Run) -> list[tuple[str, np.ndarray]]:
    """Milliseconds of each part of a run, where it has several."""
    parts = figures.series_of(run)
    several = parts.items() if len(parts) > 1 else ()
    return [(name, 1e3 * np.array([sample.latency_s for sample in samples])) for name, samples in several]


def _load(run: Run) -> str:
    if run.rate_hz is not None:
        reached = "" if run.reached is None or run.reached > 0.995 else f", {run.reached:.0%} sent"
        return f"{run.rate_hz:.3g}/s{reached}"
    return f"{run.n_callers} callers" if run.n_callers and run.n_callers > 1 else "one caller"


def _outcomes(run: Run) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in run.outcomes.most_common()) or "none"


def _write_rows(rows: Sequence[Row], path: Path) -> None:
    names = ("name", "quantity", "unit", "classic", "target", "bound", "measured", "spread", "verdict", "note")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.report.page", description="Write a load test's page anew, from its loadtest.json."
    )
    parser.add_argument("folder", type=Path, help="folder of a load test, such as build/loadtest/latest")
    folder = parser.parse_args(argv).folder
    try:
        test = LoadTest.load(folder / RECORD)
    except (OSError, ValueError, TypeError, KeyError) as error:
        parser.error(f"{folder / RECORD} cannot be read: {error}; `make loadtest` writes it")
    write_report(test, folder)
    print(folder / PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
