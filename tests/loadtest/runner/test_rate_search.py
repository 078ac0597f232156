"""The search for the largest rate, on servers whose limit is known."""

from __future__ import annotations

import math

import pytest

from loadtest.runner.rate_search import Bracket, largest_rate


def p95_s(rate_hz: float, service_s: float = 0.15) -> float:
    """Of one worker with exponential times, M/M/1: its sojourn times are exponential with mean s / (1 - rate * s)."""
    load = rate_hz * service_s
    return math.inf if load >= 1 else -math.log(0.05) * service_s / (1 - load)


@pytest.mark.parametrize("start_hz", [0.1, 1.0, 5.0, 40.0])
def test_it_finds_the_rate_at_which_a_queue_becomes_too_long(start_hz: float):
    slo_s = 1.0
    known_hz = (1 + math.log(0.05) * 0.15 / slo_s) / 0.15  # p95_s(known_hz) == slo_s
    bracket = largest_rate(lambda rate_hz: p95_s(rate_hz) <= slo_s, start_hz, 1.05, 20)
    assert bracket.holds_hz <= known_hz < bracket.fails_hz
    assert bracket.fails_hz / bracket.holds_hz <= 1.05


def test_it_ends_after_the_trials_it_has():
    tried: list[float] = []

    def holds(rate_hz: float) -> bool:
        tried.append(rate_hz)
        return rate_hz < 10

    bracket = largest_rate(holds, 1.0, 1.001, 6)
    assert tried[:5] == [1, 2, 4, 8, 16]
    assert len(tried) == 6
    assert bracket == Bracket(8.0, math.sqrt(8 * 16))


def test_where_no_rate_holds_or_every_one_does_one_side_stays_open():
    assert largest_rate(lambda rate_hz: False, 4.0, 1.1, 3) == Bracket(0.0, 1.0)
    assert largest_rate(lambda rate_hz: True, 4.0, 1.1, 3) == Bracket(16.0, math.inf)
