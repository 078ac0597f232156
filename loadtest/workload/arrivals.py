"""When requests are sent and which file comes next, drawn so that the same seed gives the same again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator


def poisson(rate_hz: float, rng: random.Random) -> Iterator[float]:
    """Seconds after the start at which independent callers, `rate_hz` of them a second, would come; without end.

    The gaps are exponential, so the numbers of arrivals in any two spans are independent, and vary as much as their
    mean. Several such sources make one again, of the sum of their rates.
    """
    time_s = 0.0
    while True:
        time_s += rng.expovariate(rate_hz)
        yield time_s


def with_burst(arrivals: Iterator[float], at_s: float, size: int) -> Iterator[float]:
    """The arrivals, and `size` more at one moment."""
    for time_s in arrivals:
        if time_s >= at_s and size:
            yield from itertools.repeat(at_s, size)
            size = 0
        yield time_s


def zipf(n_files: int, exponent: float, rng: random.Random) -> Callable[[], int]:
    """Draws an index below `n_files`; the k-th most wanted file comes 1 / k**exponent times as often as the first."""
    totals = list(itertools.accumulate(rank**-exponent for rank in range(1, n_files + 1)))
    indices = range(n_files)
    return lambda: rng.choices(indices, cum_weights=totals)[0]
