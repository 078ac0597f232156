"""The largest rate at which something holds, in few trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bracket:
    """Between which rates it stops holding.

    Attributes:
        holds_hz: the largest rate that was tried and held; 0 where none did.
        fails_hz: the smallest that was tried and did not hold; infinite where all did.
    """

    holds_hz: float = 0.0
    fails_hz: float = math.inf

    def with_trial(self, rate_hz: float, held: bool) -> Bracket:
        """What is known after one more trial."""
        if held:
            return Bracket(max(self.holds_hz, rate_hz), self.fails_hz)
        return Bracket(self.holds_hz, min(self.fails_hz, rate_hz))

    def next_hz(self, start_hz: float) -> float:
        """The rate to try next: doubled or halved until it lies between two known ones, then their geometric mean."""
        if self.fails_hz == math.inf:
            return 2 * self.holds_hz if self.holds_hz else start_hz
        return math.sqrt(self.holds_hz * self.fails_hz) if self.holds_hz else self.fails_hz / 2


def largest_rate(holds: Callable[[float], bool], start_hz: float, precision: float, max_trials: int) -> Bracket:
    """Bisects, on a logarithmic scale, for the largest rate at which `holds`.

    Args:
        holds: tries one rate.
        start_hz: the first one.
        precision: the search ends when the rate that fails is at most this many times the one that holds, such as 1.1.
        max_trials: it ends after so many, too.
    """
    bracket = Bracket()
    for _ in range(max_trials):
        if bracket.holds_hz and bracket.fails_hz <= precision * bracket.holds_hz:
            break
        rate_hz = bracket.next_hz(start_hz)
        bracket = bracket.with_trial(rate_hz, holds(rate_hz))
    return bracket
