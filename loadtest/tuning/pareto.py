"""Points that no other beats in throughput and latency at once, and an order of the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """What a setting achieves.

    Attributes:
        throughput_hz: requests a second, as many as there can be.
        p95_ms: latency at a rate that all settings were asked at.
        cpu_ms: processor time of a request under full load.
    """

    throughput_hz: float
    p95_ms: float
    cpu_ms: float = math.nan


def dominates(one: Point, other: Point) -> bool:
    """Whether one is at least as good in both respects, and better in one of them."""
    as_good = one.throughput_hz >= other.throughput_hz and one.p95_ms <= other.p95_ms
    return as_good and (one.throughput_hz, one.p95_ms) != (other.throughput_hz, other.p95_ms)


def frontier(points: Sequence[Point]) -> list[int]:
    """Indices of the points that none dominates, the quickest first."""
    kept = [index for index, point in enumerate(points) if not any(dominates(other, point) for other in points)]
    return sorted(kept, key=lambda index: (points[index].p95_ms, -points[index].throughput_hz))


def ordered(points: Sequence[Point], slo_ms: float | None = None) -> list[int]:
    """Indices, the best first: frontier by frontier, and of each those that lie farthest from others.

    Non-dominated sorting with crowding distance, as in NSGA-II (Deb et al. 2002). Points later than the SLO come
    after all that keep it, the least late first.
    """
    late = {index for index, point in enumerate(points) if slo_ms is not None and not point.p95_ms <= slo_ms}
    left = [index for index in range(len(points)) if index not in late]
    order: list[int] = []
    while left:
        best = [left[index] for index in frontier([points[index] for index in left])]
        crowding = _crowding([points[index] for index in best])
        order += [best[place] for place in sorted(range(len(best)), key=lambda place: -crowding[place])]
        left = [index for index in left if index not in best]
    return order + sorted(late, key=lambda index: points[index].p95_ms if points[index].p95_ms > 0 else math.inf)


def _crowding(points: Sequence[Point]) -> list[float]:
    """How far the two neighbours of each point of a frontier lie apart, in each respect; the ends count as far."""
    distances = [0.0] * len(points)
    for value in (lambda point: point.throughput_hz, lambda point: point.p95_ms):
        places = sorted(range(len(points)), key=lambda place: value(points[place]))
        span = value(points[places[-1]]) - value(points[places[0]])
        distances[places[0]] = distances[places[-1]] = math.inf
        for before, place, after in zip(places, places[1:], places[2:], strict=False):
            if span > 0:
                distances[place] += (value(points[after]) - value(points[before])) / span
    return distances
