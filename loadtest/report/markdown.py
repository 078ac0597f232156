"""The benchmark table in words: for the report, for the documents, for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections import Counter

from rich.table import Table

from loadtest.measure.results import LoadTest, Row

LATENCY = "latency p50"  # a quantity of config/benchmarks.yaml
BOUNDS = {"<=": "≤", ">=": "≥"}


def benchmark_table(test: LoadTest) -> str:
    """The table in Markdown, with where it was measured, and the notes below it."""
    lines = ["| what | quantity | reference | target | measured | verdict |", "|---|---|---|---|---|---|"]
    for row in test.rows:
        spread = f" ({spread_text(row)})" if row.spread else ""
        verdict = row.verdict if row.verdict == "holds" else f"**{row.verdict}**"
        cells = [row.name, row.quantity, row.classic, target_text(row), measured_text(row) + spread, verdict]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [f"- {row.name}, {row.quantity}: {row.note}" for row in test.rows if row.note]
    where = f"Measured through TorchServe on {test.machine}. Upload: {test.clip}."
    if test.quick:
        where += " A quick run: fewer requests than a published figure needs."
    parts = [_wrapped(_summary(test)), "\n".join(lines), _wrapped(where)] + (
        ["\n".join(_wrapped(note, "  ") for note in notes)] if notes else []
    )
    return "\n\n".join(parts) + "\n"


def from_rich(table: Table) -> str:
    """A table of the terminal, in Markdown, with its title above it."""
    header = [str(column.header) for column in table.columns]
    rows = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return f"{table.title}:\n\n" + "\n".join(lines) + "\n"


def latency_sentence(test: LoadTest) -> str:
    """The median latencies, where they were measured, and how many targets hold."""
    latencies = [f"{row.name} {measured_text(row)}" for row in test.rows if row.quantity == LATENCY and row.measured]
    listed = ", ".join(latencies) if latencies else "not measured"
    return (
        _wrapped(
            f"One request through TorchServe, median latency: {listed} ({test.machine.hardware}; "
            f"{test.machine.date}). {_held(test)} ([the table](docs/results.md#benchmark-table))."
        )
        + "\n"
    )


def _held(test: LoadTest) -> str:
    n_held = sum(row.verdict == "holds" for row in test.rows)
    return f"{n_held} of {len(test.rows)} targets hold"


def _summary(test: LoadTest) -> str:
    """How many targets hold, and which ones do not."""
    sentences = [f"{_held(test)}."]
    for verdict in ("missed", "not measured"):
        counts = Counter(row.quantity for row in test.rows if row.verdict == verdict)
        listed = "; ".join(quantity if n == 1 else f"{quantity}: {n} rows" for quantity, n in counts.items())
        sentences += [f"{verdict.capitalize()}: {listed}."] if counts else []
    return " ".join(sentences)


def target_text(row: Row) -> str:
    """Such as `≤ 250 ms`."""
    share = row.unit == "share"
    return f"{BOUNDS[row.bound]} {100 * row.target if share else row.target:,g} {'%' if share else row.unit}".strip()


def measured_text(row: Row) -> str:
    """Such as `193 ms`; a dash where it was not measured."""
    return "–" if row.measured is None else _quantity(row.measured, row.unit)


def spread_text(row: Row) -> str:
    """Such as `188 to 201`."""
    if row.spread is None:
        return ""
    low, high = (figure_text(100 * value if row.unit == "share" else value) for value in row.spread)
    return f"{low} to {high}"


def figure_text(value: float | None) -> str:
    """Three digits that matter; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _quantity(value: float, unit: str) -> str:
    return f"{figure_text(100 * value)} %" if unit == "share" else f"{figure_text(value)} {unit}".strip()


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
