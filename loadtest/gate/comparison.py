"""Whether one series of runs is worse than another, beyond what chance makes of both.

The middle half of the rounds is the spread. A metric is worse where its median passes the allowance, and the spread
still lies on the wrong side: so neither a change that is small nor one that the machine's noise explains counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from loadtest.measure.results import Run


@dataclass(frozen=True)
class Metric:
    """A metric that the check watches: its name, that of its values in a `Series`, and by which share it may rise."""

    name: str
    values: str
    allowance: float


METRICS = (Metric("CPU ms a request", "cpu_ms", 0.10), Metric("latency p95, ms", "p95_ms", 0.15))


@dataclass(frozen=True)
class Series:
    """What the rounds of one candidate measured, a value a round, in order.

    Attributes:
        stages_ms: mean of each stage over all rounds; only told, not judged.
    """

    cpu_ms: tuple[float, ...]
    p95_ms: tuple[float, ...]
    p50_ms: tuple[float, ...]
    stages_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in ("cpu_ms", "p95_ms", "p50_ms")}
        if lengths in ({0}, set()) or len(lengths) > 1:
            raise ValueError(f"a series needs the same number of rounds for each metric, and one at least: {lengths}")
        if not all(np.isfinite(getattr(self, name)).all() for name in ("cpu_ms", "p95_ms", "p50_ms")):
            raise ValueError("a round without a metric: nothing was judged in it")

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Series:
        """One run a round.

        Raises:
            ValueError: a run measured nothing.
        """
        stages = [run.stages_s() for run in runs]
        names = dict.fromkeys(name for each in stages for name in each)
        return cls(
            tuple(run.cpu_ms for run in runs),
            tuple(1e3 * run.percentile_s(95) for run in runs),
            tuple(1e3 * run.percentile_s(50) for run in runs),
            {name: 1e3 * float(np.mean([each.get(name, 0.0) for each in stages])) for name in names},
        )


@dataclass(frozen=True)
class Finding:
    """One metric of one model.

    Attributes:
        base, now: medians.
        ratio: `now` of `base`; the median of the rounds' own ratios, where the candidates took turns.
        low, high: spread of the ratio.
        verdict: `worse` fails the check. `noise`: past the allowance, but the spread explains it.
    """

    model: str
    metric: str
    base: float
    now: float
    ratio: float
    low: float
    high: float
    allowance: float
    verdict: Literal["worse", "noise", "same", "better"]


def compare(model: str, base: Series, now: Series, *, in_turns: bool) -> list[Finding]:
    """A finding for each metric.

    Args:
        in_turns: whether round i of both ran side by side, so that what slowed one slowed the other. If not, as with a
            stored baseline, the spreads of both count.
    """
    return [_finding(model, metric, base, now, in_turns) for metric in METRICS]


def confirmed(first: Sequence[Finding], second: Sequence[Finding]) -> list[Finding]:
    """The findings of a second series of rounds, in which only that is worse which was so in the first as well."""
    worse = {(each.model, each.metric) for each in first if each.verdict == "worse"}
    return [
        each
        if each.verdict != "worse" or (each.model, each.metric) in worse
        else Finding(**vars(each) | {"verdict": "noise"})
        for each in second
    ]


def _finding(model: str, metric: Metric, base: Series, now: Series, in_turns: bool) -> Finding:
    before, after = (np.array(getattr(series, metric.values)) for series in (base, now))
    if in_turns:
        n_rounds = min(len(before), len(after))
        low, ratio, high = np.percentile(after[:n_rounds] / before[:n_rounds], (25, 50, 75))
    else:
        ratio = np.median(after) / np.median(before)
        low = np.percentile(after, 25) / np.percentile(before, 75)
        high = np.percentile(after, 75) / np.percentile(before, 25)
    if ratio > 1 + metric.allowance:
        verdict = "worse" if low > 1 else "noise"
    else:
        verdict = "better" if ratio < 1 - metric.allowance and high < 1 else "same"
    medians = (float(np.median(before)), float(np.median(after)))
    return Finding(model, metric.name, *medians, float(ratio), float(low), float(high), metric.allowance, verdict)
