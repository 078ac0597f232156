from __future__ import annotations

import io

from rich.console import Console, Group

from client.comparison import Comparison, Outcome, Pair
from operations.canary_tables import MAX_ROWS, tables


def shown(comparison: Comparison) -> str:
    console = Console(width=120, file=io.StringIO())
    console.print(Group(*tables(comparison)), markup=False)
    return console.file.getvalue()


def judged(p_fake: float, latency_s: float) -> Outcome:
    return Outcome("Fake" if p_fake >= 0.5 else "Real", p_fake, latency_s)


def test_figures_and_disagreements_are_shown():
    pairs = [
        Pair("a.wav", judged(0.2, 0.1), judged(0.3, 0.2)),
        Pair("[b].wav", judged(0.2, 0.1), judged(0.9, 0.2)),
        Pair("c.wav", judged(0.2, 0.1), Outcome("ServerUnavailable", None, 3.0, failed=True)),
    ]
    text = shown(Comparison("1.0", "2.0", pairs))
    assert "3 pairs" in text
    assert "100 ms" in text
    assert "2.00 times" in text
    assert "33.3%" in text
    assert "0.7000" in text
    rows = [line for line in text.splitlines() if ".wav" in line]
    assert len(rows) == 2
    assert "[b].wav" in rows[0]
    assert "Real 0.2000" in rows[0]
    assert "Fake 0.9000" in rows[0]
    assert "ServerUnavailable" in rows[1]


def test_figures_that_could_not_be_taken_are_dashes():
    failed = Outcome("ServerUnavailable", None, 3.0, failed=True)
    text = shown(Comparison("1.0", "2.0", [Pair("a.wav", failed, failed)]))
    assert "│ -" in text
    assert "nan" not in text


def test_a_long_list_of_disagreements_is_cut_and_says_so():
    pairs = [Pair(f"{index}.wav", judged(0.2, 0.1), judged(0.9, 0.1)) for index in range(MAX_ROWS + 7)]
    text = shown(Comparison("1.0", "2.0", pairs))
    assert "7 further disagreements" in text
