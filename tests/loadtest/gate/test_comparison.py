"""Verdicts of the gate on series made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtest.gate.comparison import METRICS, Series, compare, confirmed
from tests.loadtest.runs import drawn_run


def series(factor: float = 1.0, noise: float = 0.02, seed: int = 0, n_rounds: int = 10, common=None) -> Series:
    """Rounds of about 200 ms of CPU and 250 ms p95, times a factor, give or take."""
    dice = np.random.default_rng(seed)
    wobble = (1.0 if common is None else common) * factor * (1 + noise * dice.standard_normal((3, n_rounds)))
    return Series(*(tuple((level * row).tolist()) for level, row in zip((200, 250, 220), wobble, strict=True)))


def verdicts(base: Series, now: Series, in_turns: bool = True) -> list[str]:
    return [finding.verdict for finding in compare("video", base, now, in_turns=in_turns)]


@pytest.mark.parametrize("in_turns", [True, False])
@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1.00, ["same", "same"]),
        (1.08, ["same", "same"]),
        (1.12, ["worse", "same"]),  # 10 % for CPU time, 15 % for p95
        (1.20, ["worse", "worse"]),
        (0.80, ["better", "better"]),
    ],
)
def test_what_passes_and_what_fails(factor, expected, in_turns):
    assert verdicts(series(seed=1), series(factor, seed=2), in_turns) == expected


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("in_turns", [True, False])
def test_noise_alone_never_fails(seed, in_turns):
    assert "worse" not in verdicts(series(noise=0.05, seed=seed), series(noise=0.05, seed=100 + seed), in_turns)


def test_a_rise_that_the_spread_explains_is_called_noise():
    base = Series((100, 100, 150, 160), (10, 10, 10, 10), (1, 1, 1, 1))
    now = Series((100, 160, 160, 160), (10, 10, 10, 10), (1, 1, 1, 1))
    assert verdicts(base, now, in_turns=False) == ["noise", "same"]


def test_turns_see_through_a_machine_that_changes_its_pace():
    """Half of the rounds take twice as long for both: only beside each other can 12 % more be seen."""
    pace = np.tile([1.0, 2.0], 5)
    base, now = series(seed=1, common=pace), series(1.12, seed=2, common=pace)
    assert verdicts(base, now, in_turns=True)[0] == "worse"
    assert verdicts(base, now, in_turns=False)[0] == "noise"


def test_one_bad_round_does_not_fail_it():
    now = series(seed=2)
    assert verdicts(series(seed=1), replace(now, cpu_ms=(900.0, *now.cpu_ms[1:]), p95_ms=(9e3, *now.p95_ms[1:]))) == [
        "same",
        "same",
    ]


def test_only_what_is_worse_twice_is_worse():
    worse = compare("video", series(seed=1), series(1.3, seed=2), in_turns=True)
    same = compare("video", series(seed=1), series(seed=2), in_turns=True)
    assert [each.verdict for each in confirmed(worse, worse)] == ["worse", "worse"]
    assert [each.verdict for each in confirmed(same, worse)] == ["noise", "noise"]
    assert [each.verdict for each in confirmed(worse, same)] == ["same", "same"]


def test_a_finding_tells_its_figures():
    cpu, _ = compare("video", series(noise=0), series(1.5, noise=0), in_turns=True)
    assert (cpu.model, cpu.metric, cpu.allowance) == ("video", METRICS[0].name, 0.10)
    assert (cpu.base, cpu.now) == (pytest.approx(200), pytest.approx(300))
    assert (cpu.low, cpu.ratio, cpu.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_series_of_runs():
    run = drawn_run()
    found = Series.of([run, run])
    assert found.cpu_ms == (run.cpu_ms, run.cpu_ms)
    assert found.p95_ms == (pytest.approx(1e3 * run.percentile_s(95)),) * 2
    assert list(found.stages_ms) == ["queue", "decode", "faces", "forward"]


@pytest.mark.parametrize("values", [((), (), ()), ((1.0,), (1.0, 2.0), (1.0,)), ((float("nan"),), (1.0,), (1.0,))])
def test_a_series_without_figures_is_refused(values):
    with pytest.raises(ValueError, match="round"):
        Series(*values)
