"""Figures take their colours from the page; a page holds its style within itself."""

from __future__ import annotations

from matplotlib.figure import Figure

from reports.page import environment
from reports.theme import BAD, SERIES, themed, tip, to_svg


def drawn() -> str:
    with themed():
        figure = Figure()
        axes = figure.subplots()
        (line,) = axes.plot([0, 1], [0, 1], color=SERIES[1])
        axes.plot([0, 1], [1, 0], color=BAD)
        tip(line, "rises by 1")
        return to_svg(figure, "two lines")


def test_colours_are_the_page_s_and_tips_are_titles():
    svg = drawn()
    assert "var(--series-2)" in svg
    assert "var(--bad)" in svg
    assert "<title>rises by 1</title>" in svg
    assert 'aria-label="two lines"' in svg
    assert "http" not in svg


def test_two_figures_share_no_identity():
    first, second = drawn(), drawn()
    assert first != second
    assert first.count("<svg") == second.count("<svg") == 1


def test_a_page_extends_the_frame_and_escapes(tmp_path):
    (tmp_path / "x.html").write_text('{% extends "frame.html" %}{% block main %}{{ text }}{% endblock %}')
    page = environment(tmp_path).get_template("x.html").render(text="<b>")
    assert "&lt;b&gt;" in page
    assert "--series-1" in page
