"""Arrivals are those of people who don't know of each other, and the same for the same seed."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from loadtest.workload.arrivals import poisson, with_burst, zipf


def arrivals(rate_hz: float, duration_s: float, seed: object) -> list[float]:
    return list(itertools.takewhile(lambda time_s: time_s < duration_s, poisson(rate_hz, random.Random(seed))))


def test_numbers_vary_as_much_as_their_mean():
    counts = [len(arrivals(5.0, 10.0, seed)) for seed in range(2_000)]
    # The mean of 2,000 counts of mean 50 has a standard deviation of 0.16; their variance has one of 1.6.
    assert np.mean(counts) == pytest.approx(50, abs=0.8)
    assert np.var(counts) == pytest.approx(50, abs=8)


def test_gaps_are_exponential():
    gaps = np.diff(arrivals(5.0, 4_000.0, 1))
    assert np.mean(gaps) == pytest.approx(0.2, rel=0.05)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.05)
    assert np.mean(gaps > 0.2) == pytest.approx(np.exp(-1), abs=0.02)


def test_several_sources_make_one_of_the_sum_of_their_rates():
    counts = [sum(len(arrivals(1.0, 10.0, f"{seed} {source}")) for source in range(4)) for seed in range(1_000)]
    assert np.mean(counts) == pytest.approx(40, abs=1)
    assert np.var(counts) == pytest.approx(40, abs=8)


def test_a_seed_gives_the_same_again():
    assert arrivals(3.0, 20.0, 7) == arrivals(3.0, 20.0, 7)
    assert arrivals(3.0, 20.0, 7) != arrivals(3.0, 20.0, 8)


def test_a_burst_comes_at_one_moment_and_takes_nothing_away():
    quiet = arrivals(1.0, 50.0, 3)
    burst = with_burst(poisson(1.0, random.Random(3)), 20.0, 16)
    found = list(itertools.takewhile(lambda time_s: time_s < 50.0, burst))
    assert Counter(found)[20.0] == 16
    assert found == sorted(found)
    assert [time_s for time_s in found if time_s != 20.0] == quiet


def test_zipf_asks_for_the_second_file_half_as_often_as_for_the_first():
    draw = zipf(20, 1.0, random.Random(1))
    counts = Counter(draw() for _ in range(40_000))
    assert set(counts) == set(range(20))
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.1)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)
