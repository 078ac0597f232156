"""The page of a load test: whole, by itself, and the same twice."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from loadtest.measure.results import LoadTest
from loadtest.report.page import headline, main, page, write_report
from tests.loadtest.runs import MACHINE, drawn_run, drawn_test

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Reader(HTMLParser):
    """Takes the page apart, and fails where a tag is not closed by its own."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def drawn() -> LoadTest:
    return drawn_test()


@pytest.fixture(scope="module")
def html(drawn) -> str:
    return page(drawn)


@pytest.fixture(scope="module")
def read(html) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_it_needs_nothing_beside_it(html, read):
    assert not re.search(r"(?:https?:)?//[a-z]", html)
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert all(
        (value or "").startswith("#") for name, value in read.attributes if name in ("href", "src", "xlink:href")
    )
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_what_links_within_it_is_there_once(read):
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for name, value in read.attributes if name == "href"}
    assert wanted
    assert wanted <= set(ids)


def test_every_run_row_and_digest_is_told(drawn, read):
    text = " ".join(" ".join(read.texts).split())
    for run in drawn.runs:
        assert run.label in text
    for row in drawn.rows:
        assert row.name in text
        assert row.verdict in text
    assert "nobody came does not count: it sent <nothing>" in text
    assert "zipf : a caller took 90 % of a core" in text
    assert "2 503 queue full" in text
    for told in (
        MACHINE.hardware,
        MACHINE.date,
        MACHINE.archives["video"],
        "2.8.0",
        "188 to 201",
        "≤ 250 ms",
        "≥ 84 %",
    ):
        assert told in text


def test_its_colours_are_those_of_light_and_dark(html):
    assert "prefers-color-scheme: dark" in html
    drawn_with = set(re.findall(r"var\(--([a-z0-9-]+)\)", html))
    light, dark = (set(re.findall(r"--([a-z0-9-]+):", part)) for part in html.split("prefers-color-scheme: dark")[:2])
    assert drawn_with <= light
    assert drawn_with <= dark
    assert not re.search(r"#01[0-9a-f]{4}", html)  # a stand-in that was not replaced


def test_figures_say_what_they_show_when_the_pointer_rests_on_them(html):
    titles = re.findall(r"<title>(.*?)</title>", html)
    assert any(re.fullmatch(r"alone, p95: 2\d\d\.\d ms", title) for title in titles)
    assert any(re.fullmatch(r"4/s, decode: \d+\.\d ms, 50%", title) for title in titles)
    assert "SLO 500 ms" in html


def test_a_cached_run_tells_hits_from_misses(read):
    text = " ".join(" ".join(read.texts).split())
    assert re.search(r"hit 1,000 judged [\d.]+ [\d.]+", text)


def test_a_page_stays_small(html):
    assert len(html) < 1_000_000


def test_headline_counts():
    test = drawn_test()
    assert headline(test).startswith(
        "1 of 2 measured targets hold; 1 could not be measured here. Missed: video quantized, accuracy. 2,240 requests"
    )
    worth = replace(test, rows=tuple(replace(row, gates=False) for row in test.rows))
    assert "Missed, which does not fail the run: video quantized, accuracy." in headline(worth)
    assert "of which 1 does not count" in headline(test)
    assert headline(replace(test, rows=(), runs=(drawn_run(),))) == "60 requests in 1 run."


def test_the_folder_can_be_written_anew_from_itself(drawn, tmp_path, capsys):
    drawn = replace(drawn, runs=(drawn.runs[0], drawn.runs[-1]))
    write_report(drawn, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"index.html", "loadtest.json", "samples.csv", "runs.csv", "benchmarks.csv", "benchmarks.md"}
    with (tmp_path / "samples.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(len(run.samples) for run in drawn.runs)
    with (tmp_path / "benchmarks.csv").open() as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == ["holds", "missed", "not measured"]
    before = (tmp_path / "benchmarks.md").read_text()
    (tmp_path / "index.html").unlink()
    assert main([str(tmp_path)]) == 0
    assert str(tmp_path / "index.html") in capsys.readouterr().out
    assert "nobody came" in (tmp_path / "index.html").read_text()
    assert (tmp_path / "benchmarks.md").read_text() == before


def test_a_test_of_nothing_has_a_page_too(tmp_path):
    write_report(LoadTest(MACHINE, True, "nothing"), tmp_path)
    assert "A quick run" in (tmp_path / "index.html").read_text()


def test_a_folder_without_a_record_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "make loadtest" in capsys.readouterr().err
