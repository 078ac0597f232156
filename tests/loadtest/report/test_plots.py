"""What the figures are drawn from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.report import plots as figures
from tests.loadtest.runs import drawn_run


def test_a_run_falls_apart_by_the_first_thing_that_differs():
    run = drawn_run(cache=("hit", "miss", "miss"), n_failed=3)
    assert {name: len(samples) for name, samples in figures.series_of(run).items()} == {"hit": 19, "miss": 38}
    phased = tuple(replace(sample, phase="before" if sample.sent_s < 5 else "after") for sample in run.samples)
    assert list(figures.series_of(replace(run, samples=phased))) == ["after", "before"]
    assert list(figures.series_of(drawn_run())) == [""]
    assert figures.series_of(drawn_run(n=0)) == {}


def test_stages_add_up_to_the_latency():
    run = drawn_run()
    stages = figures.stages_ms(run)
    assert list(stages) == ["queue", "decode", "faces", "forward", "rest"]
    latency_ms = 1e3 * sum(sample.latency_s for sample in run.samples) / len(run.samples)
    assert sum(stages.values()) == pytest.approx(latency_ms)
    assert stages["rest"] == pytest.approx(0.05 * latency_ms)


def test_there_is_no_figure_of_nothing():
    nothing = [drawn_run(n=0)]
    for draw in (figures.latency_distribution, figures.latency_over_time, figures.rate_curves, figures.stage_shares):
        assert draw(nothing) == ""
    assert figures.rate_curves([drawn_run(rate_hz=1.0)]) == ""  # one rate is no curve
    assert figures.usage_over_time([replace(drawn_run(), usage=())]) == ""


def test_thinning_keeps_the_slowest():
    run = drawn_run(n=5_000)
    kept = figures._thinned(run.samples)
    assert len(kept) == figures.MAX_POINTS
    slowest = sorted(run.samples, key=lambda sample: sample.latency_s)[-20:]
    assert all(sample in kept for sample in slowest)
