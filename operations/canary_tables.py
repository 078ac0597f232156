"""A comparison of two versions as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from client.comparison import Comparison, Outcome, mean

MAX_ROWS = 50  # disagreements; --json has them all


def tables(comparison: Comparison) -> Sequence[Table | str]:
    """The figures, and below them every disagreement."""
    shown: list[Table | str] = [_figures(comparison)]
    if comparison.disagreements:
        shown.append(_disagreements(comparison))
    if (more := len(comparison.disagreements) - MAX_ROWS) > 0:
        shown.append(f"{more} further disagreements: --json has them all")
    return shown


def _figures(comparison: Comparison) -> Table:
    old, new = comparison.old_version, comparison.new_version
    table = Table("", old, new, f"{new} to {old}", title=f"{len(comparison.pairs)} pairs")
    for label, share in (("latency, median", 0.5), ("latency, 95 %", 0.95)):
        latencies_s = [comparison.latency_s(arm, share) for arm in ("old", "new")]
        table.add_row(label, *map(_milliseconds, latencies_s), _times(latencies_s[1] / latencies_s[0]))
    table.add_row("called Fake", *(_share_fake(comparison, arm) for arm in ("old", "new")))
    table.add_row("failed", *(str(comparison.n_failed(arm)) for arm in ("old", "new")))
    table.add_row("from a cache", *(str(comparison.n_cached(arm)) for arm in ("old", "new")))
    table.add_row("same verdict", "", "", f"{comparison.agreement:.1%}")
    differences = comparison.differences
    table.add_row("difference of p_fake, mean", "", "", _figure(mean(differences)))
    table.add_row("difference of p_fake, largest", "", "", _figure(max(differences, default=math.nan)))
    return table


def _disagreements(comparison: Comparison) -> Table:
    table = Table("file", comparison.old_version, comparison.new_version, title="disagreements")
    for pair in comparison.disagreements[:MAX_ROWS]:
        table.add_row(_printable(pair.file), _outcome(pair.old), _outcome(pair.new))
    return table


def _share_fake(comparison: Comparison, arm: str) -> str:
    verdicts = [getattr(pair, arm).verdict for pair in comparison.pairs]
    return f"{verdicts.count('Fake')} of {len(verdicts)}"


def _outcome(outcome: Outcome) -> str:
    return outcome.verdict if outcome.p_fake is None else f"{outcome.verdict} {outcome.p_fake:.4f}"


def _milliseconds(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{1_000 * seconds:.0f} ms"


def _times(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.2f} times"


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _printable(text: str) -> str:
    """The text without control characters, and with rich's markup switched off."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text).replace("[", r"\[")
