"""The table, from figures that are known."""

from __future__ import annotations

from loadtest.measure.results import Machine
from loadtest.peers.comparison import Plan
from loadtest.peers.report import PLOT_FILE, TABLE_FILE, Report

MACHINE = Machine("2 cores of X", 8.0, "", {"torch": "2.8.0"}, "2026-11-24", {"audio": "ab" * 32})


def figures(value: float) -> dict[str, float]:
    return {"median": value, "min": value * 0.9, "max": value * 1.1}


def standing(candidate: str, cpu_ms: float, problem: str = "") -> dict:
    load = {"n_in_flight": 8, "n_requests": 10, "rate_rps": figures(123.4), "p50_ms": figures(12.34)}
    load |= {"p95_ms": figures(5.678), "cpu_ms": figures(cpu_ms)}
    return {
        "candidate": candidate, "model": "audio", "options": f"1 worker; options of {candidate}", "p_fake": 0.5,
        "loads": [] if problem else [load], "rest_ms_per_s": 3.21, "memory_mib": 456.7, "problem": problem,
    }  # fmt: skip


REPORT = Report(
    MACHINE,
    Plan(n_in_flight=(8,)),
    (
        standing("ours", 3.0),
        standing("LitServe", 4.0, "its verdict differs\nby much"),
        standing("in-process baseline", 2.0),
    ),
)


def test_a_row_holds_medians_their_spread_and_the_ratio_to_the_in_process_loop():
    ours, invalid, in_process = REPORT.rows("audio", 8)
    assert ours == ["ours", "123", "12.3", "5.68", "3.00 (2.70–3.30)", "1.50", "457", "3.2"]
    assert in_process[5:] == ["1.00", "457", ""]
    assert invalid[:2] == ["LitServe", "not valid: its verdict differs"]
    assert len(ours) == len(invalid) == len(in_process)


def test_ratios_are_left_out_without_a_in_process_loop():
    report = Report(MACHINE, REPORT.plan, REPORT.standings[:1])
    assert next(report.rows("audio", 8))[5] == ""


def test_the_document_says_where_it_was_measured_and_what_was_set():
    text = REPORT.markdown()
    assert "2 cores of X; torch 2.8.0; 2026-11-24; audio.mar abababababab" in text
    assert "| ours | 123 | 12.3 |" in text
    assert text.count("- audio: 1 worker\n") == 1
    assert "- LitServe: options of LitServe\n" in text


def test_what_is_written_is_read_again(tmp_path):
    REPORT.write(tmp_path)
    assert Report.load(tmp_path) == REPORT
    assert (tmp_path / TABLE_FILE).read_text() == REPORT.markdown()
    assert (tmp_path / PLOT_FILE).read_bytes().startswith(b"\x89PNG")
    assert REPORT.problems == ["LitServe, audio: its verdict differs\nby much"]
