"""The benchmark table in docs/results.md, and the latencies in README.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.measure.cache_cost import PLACE
from loadtest.report.markdown import benchmark_table, figure_text, latency_sentence
from loadtest.report.page import RECORD
from loadtest.report.readme import END, SENTENCE, TABLE, main
from operations.settings import PROJECT_DIR
from tests.loadtest.runs import drawn_test


def test_the_table_tells_every_row():
    text = benchmark_table(drawn_test())
    assert text.startswith("1 of 3 targets hold. Missed: accuracy. Not measured: times CPU.\n\n|")
    lines = text.splitlines()
    lines = lines[lines.index("") + 1 :]
    assert lines[2] == "| video quantized | latency p50 | 0.5–1 s | ≤ 250 ms | 193 ms (188 to 201) | holds |"
    assert lines[3] == "| video quantized | accuracy | 84–94 % | ≥ 84 % | 59.8 % | **missed** |"
    assert lines[4] == "| GPU | times CPU | 3–5× | ≥ 3 | – | **not measured** |"
    assert "- GPU, times CPU: no GPU at hand" in lines
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00123, "0.00123"), (8.1, "8.10"), (20, "20.0"), (193.2, "193"), (12345.6, "12,346"), (None, "–")],
)
def test_figures_have_three_digits(value, text):
    assert figure_text(value) == text


def test_the_sentence_tells_the_latencies():
    text = " ".join(latency_sentence(drawn_test()).split())
    assert "median latency: video quantized 193 ms (2 cores of <EPYC> & Co; 2026-11-24). 1 of 3 targets hold" in text


@pytest.fixture
def project(tmp_path) -> Path:
    """Both documents, with places and something old in them."""
    for place in (TABLE, SENTENCE):
        page = tmp_path / place.page
        page.parent.mkdir(exist_ok=True)
        page.write_text(f"# House\n\nabove\n\n{place.begin}\nold\n{END}\n\nbelow\n")
    return tmp_path


def test_writing_twice_changes_nothing(project, capsys):
    test = drawn_test()
    test.save(project / RECORD)
    assert main([str(project), "--root", str(project)]) == 0
    once = {place: (project / place.page).read_text() for place in (TABLE, SENTENCE)}
    for text in once.values():
        assert text.startswith("# House\n\nabove\n\n<!--")
        assert text.endswith("-->\n\nbelow\n")
        assert "\nold\n" not in text
    assert benchmark_table(test) in once[TABLE]
    assert latency_sentence(test) in once[SENTENCE]
    assert main([str(project), "--root", str(project)]) == 0
    assert {place: (project / place.page).read_text() for place in once} == once
    assert "3 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", TABLE.begin, f"{END}\n{TABLE.begin}", f"{TABLE.begin}{END}{TABLE.begin}{END}"], ids=range(4)
)
def test_a_text_without_a_place_for_it_is_refused(text):
    with pytest.raises(ValueError, match="there must be one line"):
        TABLE.filled(text, "new")


def test_nothing_is_written_where_one_document_has_no_place(project, capsys):
    drawn_test().save(project / RECORD)
    (project / "README.md").write_text("no place")
    before = (project / TABLE.page).read_text()
    with pytest.raises(SystemExit):
        main([str(project), "--root", str(project)])
    assert "there must be one line" in capsys.readouterr().err
    assert (project / TABLE.page).read_text() == before


def test_a_quick_run_is_published_only_when_asked_for(project, capsys):
    replace(drawn_test(), quick=True).save(project / RECORD)
    with pytest.raises(SystemExit):
        main([str(project), "--root", str(project)])
    assert "quick run" in capsys.readouterr().err
    assert main([str(project), "--root", str(project), "--quick"]) == 0
    assert "A quick run" in (project / TABLE.page).read_text()


@pytest.mark.parametrize("place", [TABLE, SENTENCE, PLACE], ids=lambda place: place.begin)
def test_the_documents_have_places_for_it(place):
    text = (PROJECT_DIR / place.page).read_text(encoding="utf-8")
    assert "\n\nnew\n" in place.filled(text, "new")
