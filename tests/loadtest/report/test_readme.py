"""The benchmark table in the README."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.report.markdown import benchmark_table, figure_text
from loadtest.report.page import RECORD
from loadtest.report.readme import BEGIN, END, main, with_table
from operations.settings import PROJECT_DIR
from tests.loadtest.runs import drawn_test


def test_the_table_tells_every_row():
    lines = benchmark_table(drawn_test()).splitlines()
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


def test_writing_twice_changes_nothing(tmp_path, capsys):
    readme, test = tmp_path / "README.md", drawn_test()
    readme.write_text(f"# House\n\nabove\n\n{BEGIN}\nold\n{END}\n\nbelow\n")
    test.save(tmp_path / RECORD)
    assert main([str(tmp_path), "--readme", str(readme)]) == 0
    once = readme.read_text()
    assert once.startswith("# House\n\nabove\n\n<!--")
    assert once.endswith("-->\n\nbelow\n")
    assert "\nold\n" not in once
    assert benchmark_table(test) in once
    assert main([str(tmp_path), "--readme", str(readme)]) == 0
    assert readme.read_text() == once
    assert "3 rows" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_text_without_a_place_for_it_is_refused(text):
    with pytest.raises(ValueError, match="there must be one line"):
        with_table(text, drawn_test())


def test_a_quick_run_is_published_only_when_asked_for(tmp_path, capsys):
    replace(drawn_test(), quick=True).save(tmp_path / RECORD)
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--readme", str(readme)])
    assert "quick run" in capsys.readouterr().err
    assert main([str(tmp_path), "--readme", str(readme), "--quick"]) == 0
    assert "A quick run" in readme.read_text()


def test_the_readme_has_a_place_for_it():
    text = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    assert with_table(text, drawn_test()) != text
