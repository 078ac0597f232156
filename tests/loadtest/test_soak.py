"""The arithmetic and the report of the soak test; `make soak` is the real one."""

from __future__ import annotations

import csv
from collections import Counter

import pytest
from rich.console import Console

from loadtest import soak
from loadtest.runner.load_loops import Call
from loadtest.soak import MIX, Sample, calls_table, draw_from, failures, growth, growth_table, write_report


def samples(slope_mib_per_h: float, model: str = "video") -> list[Sample]:
    """Ten minutes: a steep start of two, then a line."""
    return [
        Sample(time_s, model, 7, 50.0, 100 + slope_mib_per_h * time_s / 3600 - max(0, 120 - time_s))
        for time_s in range(0, 601, 5)
    ]


def test_growth_is_the_slope_after_the_warm_up():
    video, audio = sorted(growth(samples(60) + samples(0, "audio"), from_s=120), key=lambda each: -each.grown_mib)
    assert (video.model, video.n_pids) == ("video", 1)
    assert video.slope_mib_per_h == pytest.approx(60)
    assert video.grown_mib == pytest.approx(8)
    assert (video.start_mib, video.peak_mib) == (pytest.approx(102), pytest.approx(110))
    assert audio.grown_mib == pytest.approx(0, abs=1e-6)


def test_a_restart_and_growth_beyond_the_bound_are_shown():
    other = [Sample(sample.time_s, "audio", 8, 50.0, 100.0) for sample in samples(0)[60:]]
    grown = growth([*samples(600), *samples(0, "audio")[:60], *other], 120)
    console = Console(width=150)
    with console.capture() as shown:
        console.print(growth_table(grown, 480, bound_mib=50))
    assert shown.get().count("NOT OK") == 2


def test_failures():
    calls = [
        Call("good", 0, 1, "judged", True),
        Call("good", 0, 1, "too_long", True),
        Call("hostile", 0, 1, "too_long", True),
        Call("hostile", 0, 1, "507 worker died", False),
        Call("repeated", 0, 1, "wrong answer", False),
    ]
    assert failures(calls) == [calls[1], calls[3], calls[4]]
    console = Console(width=150)
    with console.capture() as shown:
        console.print(calls_table(calls, 60))
    assert "too_long 1, 507 worker died 1" in shown.get()


def test_the_mix():
    draw = draw_from(b"clip", [b"bad", b"worse"], seed=0)
    drawn = [draw() for _ in range(2_000)]
    shares = Counter(kind for kind, _ in drawn)
    assert {kind: round(count / 2_000, 1) for kind, count in shares.items()} == MIX
    assert {data for kind, data in drawn if kind == "repeated"} == {b"clip"}
    assert {data for kind, data in drawn if kind == "hostile"} == {b"bad", b"worse"}
    assert len({data for kind, data in drawn if kind == "good"}) == shares["good"]


def test_the_course_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "REPORT_DIR", tmp_path)
    write_report(samples(0), 120)
    rows = list(csv.DictReader((tmp_path / "soak.csv").open()))
    assert len(rows) == 121
    assert rows[0]["model"] == "video"
    assert (tmp_path / "soak.png").stat().st_size > 1_000
