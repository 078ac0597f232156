"""The benchmark table, from evidence that can be checked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.measure.results import Row, Run, Sample, Usage
from loadtest.report.benchmark_table import BENCHMARKS_FILE, Evidence, TableError, fill_in, read_rows


def figures(value: float) -> dict:
    return {name: {"value": value, "low": value - 0.1, "high": value + 0.1} for name in ("balanced_accuracy", "auc")}


def record(fp32: float, int8: float, agreement: float = 1.0) -> dict:
    return {
        "figures": {"splits": {"val": {"fp32": {"measures": figures(fp32)}, "int8": {"measures": figures(int8)}}}},
        "variants": {
            "fp32": {"size_bytes": 16 * 2**20, "agreement": 1.0, "n_inputs": 24},
            "int8": {"size_bytes": 4 * 2**20, "agreement": agreement, "n_inputs": 24},
        },
    }


def run(scenario: str, model: str, times_s: list[float], cache: str = "miss", cpu_s: float = 0.0) -> Run:
    samples = tuple(
        Sample(model, "http", index, index, index + time_s, "judged", cache, {"forward": time_s / 4}, time_s)
        for index, time_s in enumerate(times_s)
    )
    usage = (Usage(0.0, 0.0, 1), Usage(10.0, cpu_s, 1)) if cpu_s else ()
    return Run(scenario, f"{model}, {times_s}", model, 10.0, samples, usage, n_callers=1)


EVIDENCE = Evidence(
    runs=[
        run("single", "video_int8", [0.1, 0.2, 0.4]),
        run("single", "video_int8", [0.3, 0.3, 0.3]),
        run("single", "video_int8", [0.2, 0.22, 0.24]),
        run("single", "video_fp32", [0.44] * 3),
        run("single", "ensemble", [0.3] * 4, cpu_s=1.2),
        run("long", "ensemble", [0.36]),
        replace(
            run("cached", "ensemble", [0.3]),
            samples=run("", "ensemble", [0.3]).samples + run("", "ensemble", [0.01] * 3, "hit").samples,
        ),
    ],
    records={
        "video": {"artifacts": {"video": record(0.8, 0.78)}},
        "audio": {"artifacts": {"audio": record(0.9, 0.9, 0.96)}},
    },
    in_process_cpu_ms={"ensemble": 250.0},
    has_gpu=False,
)
ROWS = {(row.name, row.quantity): row for row in fill_in(EVIDENCE)}


@pytest.mark.parametrize(
    ("name", "quantity", "measured"),
    [
        ("video standard", "balanced accuracy (val)", 0.8),
        ("video quantized", "latency p50", 220.0),  # the median of 200, 300 and 220
        ("video standard", "size", 16.0),
        ("ensemble", "latency p50", 300.0),
        ("cached request", "latency p50", 10.0),
        ("quantization, video", "loss of balanced accuracy (val)", 0.02),
        ("quantization, audio", "verdicts that agree", 0.96),
        ("quantization, video", "network speed-up", 2.0),
        ("quantization, video", "request speed-up", 2.0),
        ("quantization, video", "size relative to fp32", 0.25),
        ("cache", "speed-up of a cached request", 30.0),
        ("length", "latency of 10 minutes relative to 10 seconds", 1.2),
        ("server", "CPU of a request, relative to in-process", 1.2),
    ],
)
def test_a_row_holds_what_was_measured(name: str, quantity: str, measured: float):
    assert ROWS[name, quantity].measured == pytest.approx(measured)


def test_rounds_and_intervals_are_told():
    assert ROWS["video quantized", "latency p50"].spread == pytest.approx((200.0, 300.0))
    assert ROWS["video standard", "balanced accuracy (val)"].spread == pytest.approx((0.7, 0.9))


@pytest.mark.parametrize(
    ("name", "quantity", "note"),
    [
        ("audio quantized", "latency p50", "scenario single did not measure audio"),
        ("audio quantized", "balanced accuracy (test)", "no figures of test"),
        ("GPU", "speed-up over the CPU", "there is no GPU here"),
        ("mixed precision", "training speed-up", "there is no GPU here"),
    ],
)
def test_what_was_not_measured_says_why(name: str, quantity: str, note: str):
    row = ROWS[name, quantity]
    assert row.verdict == "not measured"
    assert note in row.note


def test_a_run_without_requests_makes_no_figure():
    empty = replace(EVIDENCE, runs=[run("single", "video_int8", [])])
    row = next(row for row in fill_in(empty) if (row.name, row.quantity) == ("video quantized", "latency p50"))
    assert row.measured is None
    assert not math.isnan(row.target)


def test_a_wrong_file_is_refused(tmp_path: Path):
    text = BENCHMARKS_FILE.read_text()
    path = tmp_path / "benchmarks.yaml"
    for old, new, said in (
        ("measure: {repeat", "measure: {repeet", "measure is repeet; allowed: accuracy"),
        ('bound: ">="', 'bound: ">"', "bound is '>'; allowed: <=, >="),
        ("unit: share", "units: share", "it must have"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(TableError, match=said.split(";")[0]) as caught:
            read_rows(path)
        assert said in str(caught.value)


def test_every_row_of_the_file_is_a_row_of_its_own():
    rows = [row for row, _, _ in read_rows()]
    assert all(isinstance(row, Row) for row in rows)
    assert len({(row.name, row.quantity) for row in rows}) == len(rows)
