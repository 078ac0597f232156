"""The figures of a load test, against runs that can be counted by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.measure.results import LoadTest, Machine, Row, Run, Sample, Usage, write_samples, write_summaries

MACHINE = Machine("2 cores", 24.0, "", {"torch": "2.8.0"}, "2026-11-24", {"video": "ab"})


def sample(scheduled_s: float, done_s: float, outcome: str = "judged", **others) -> Sample:
    return Sample("video", "http", scheduled_s, others.pop("sent_s", scheduled_s), done_s, outcome, **others)


RUN = Run(
    scenario="server",
    label="2.0/s",
    model="video",
    duration_s=2.0,
    rate_hz=2.0,
    samples=(
        sample(0.0, 0.2, cache="hit", timings_s={"decode": 0.1}, processing_s=0.15),
        sample(0.5, 0.9, cache="miss", timings_s={"decode": 0.3, "faces": 0.1}, processing_s=0.4),
        sample(1.0, 1.1, outcome="decode_timeout"),
        sample(1.5, 2.5, cache="miss", sent_s=2.1, timings_s={"decode": 0.2}, processing_s=0.3),
    ),
    usage=(Usage(0.0, 1.0, 2**20), Usage(2.5, 1.6, 3 * 2**20)),
)


def test_latency_counts_from_the_schedule() -> None:
    assert RUN.samples[3].latency_s == pytest.approx(1.0)


def test_figures_of_a_run() -> None:
    assert RUN.n_failed == 1
    assert RUN.percentile_s(50) == pytest.approx(0.4)
    assert RUN.percentile_s(99, cache="hit") == pytest.approx(0.2)
    assert math.isnan(RUN.percentile_s(50, cache="off"))
    assert RUN.throughput_hz == pytest.approx(3 / 2.5)
    assert RUN.reached == pytest.approx(3 / 4)  # one was sent after the time was up
    assert RUN.cpu_ms == pytest.approx(200.0)
    assert RUN.peak_rss_bytes == 3 * 2**20
    stages = RUN.stages_s()
    assert list(stages) == ["queue", "decode", "faces"]
    assert stages["queue"] == pytest.approx((0.05 + 0.0 + 0.7) / 3)
    assert stages["decode"] == pytest.approx(0.2)
    assert stages["faces"] == pytest.approx(0.1 / 3)


def test_a_refusal_that_the_reference_has_is_no_failure() -> None:
    refused = sample(0.0, 0.1, outcome="undecodable_media", expected="undecodable_media")
    run = Run("mixed", "2.0/s", "mixed", 1.0, (refused, sample(0.5, 0.9, outcome="undecodable_media")))
    assert [each.is_well for each in run.samples] == [True, False]
    assert run.n_failed == 1


def test_the_schedule_counts_where_it_is_known() -> None:
    assert replace(RUN, n_scheduled=6).reached == pytest.approx(3 / 6)


def test_a_run_of_nothing_has_no_figures() -> None:
    empty = Run("single", "1", "video", 1.0, ())
    assert empty.throughput_hz == 0
    assert empty.reached is None
    assert math.isnan(empty.cpu_ms)
    assert empty.stages_s() == {}


@pytest.mark.parametrize(
    ("bound", "measured", "verdict"),
    [("<=", 250.0, "holds"), ("<=", 250.1, "missed"), (">=", 250.0, "holds"), (">=", 249.9, "missed")],
)
def test_verdict(bound: str, measured: float, verdict: str) -> None:
    assert Row("video quantized", "latency p50", "ms", "", 250.0, bound, measured).verdict == verdict


def test_what_was_not_measured_neither_holds_nor_misses() -> None:
    row = Row("GPU", "of the CPU's time", "", "3–5× quicker", 0.33, "<=")
    assert row.verdict == "not measured"
    assert LoadTest(MACHINE, False, "clip", (RUN,), (row,)).holds


def test_a_missed_row_fails_the_test_only_where_it_gates() -> None:
    row = Row("video standard", "balanced accuracy (test)", "share", "85–95 %", 0.85, ">=", 0.7, gates=False)
    for gates in (True, False):
        test = LoadTest(MACHINE, False, "clip", (RUN,), (replace(row, gates=gates),))
        assert test.holds is not gates
        assert test.missed == list(test.rows)


def test_an_invalid_run_spoils_the_whole() -> None:
    assert not LoadTest(MACHINE, False, "clip", (replace(RUN, problems=("too slow a caller",)),)).holds


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    row = Row("video quantized", "latency p50", "ms", "0.5–1 s", 250.0, "<=", 193.0, (190.0, 201.0))
    test = LoadTest(MACHINE, True, "ten seconds", (RUN,), (row,), {"hit ratio": 0.8})
    test.save(tmp_path / "run" / "loadtest.json")
    assert LoadTest.load(tmp_path / "run" / "loadtest.json") == test


def test_tables_of_requests_and_runs(tmp_path: Path) -> None:
    write_samples([RUN], tmp_path / "samples.csv")
    rows = list(csv.DictReader((tmp_path / "samples.csv").open()))
    assert len(rows) == 4
    assert rows[1]["faces_s"] == "0.1"
    assert rows[2]["outcome"] == "decode_timeout"
    write_summaries([RUN], tmp_path / "runs.csv")
    (line,) = csv.DictReader((tmp_path / "runs.csv").open())
    assert float(line["p50_ms"]) == pytest.approx(400.0)
