"""What leaves the console is complete, and nothing in it is run by whoever opens it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

from console.clip import Clip, State
from console.exports import COLUMNS, to_csv, to_html, to_json

NO_MANIFEST = SimpleNamespace(manifest_of=lambda version=None: {})


def clip(name: str, p_fake: float | None = None, **more) -> Clip:
    answer = p_fake is not None and {
        "prediction": "Fake" if p_fake >= 0.5 else "Real",
        "probabilities": {"real": 1 - p_fake, "fake": p_fake},
        "threshold": 0.5,
        "modalities": {"audio": {"p_fake": p_fake, "window_starts_s": [0.0, 3.0], "window_p_fake": [p_fake, 0.5]}},
        "warnings": ["the file is damaged: a part of it could not be read"],
        "model": {"name": "ensemble", "version": "1.0", "variant": "fp32"},
        "sha256": "ab" * 32,
    }
    state = State.DONE if answer else State.FAILED
    return Clip(name, name, Path("nowhere"), 12, state, answer or None, **more)


REFUSED = clip("b.txt", error={"code": "unknown_container", "message": "it is text"})


def test_csv_has_a_row_for_each_file_the_likeliest_fake_first():
    clips = [REFUSED, clip("low", 0.2, decision="unsure"), clip("high", 0.9)]
    rows = list(csv.DictReader(io.StringIO(to_csv(clips, None))))
    assert [row["decision"] for row in rows] == ["", "unsure", ""]
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["file"], row["verdict"], row["error_code"]) for row in rows] == [
        ("high", "Fake", ""),
        ("low", "Real", ""),
        ("b.txt", "", "unknown_container"),
    ]


def test_the_reviewers_threshold_decides():
    (row,) = json.loads(to_json([clip("x", 0.9)], 0.95))["files"]
    assert (row["verdict"], row["threshold"], row["answer"]["prediction"]) == ("Real", 0.95, "Fake")


def test_a_name_is_no_formula():
    (row,) = csv.DictReader(io.StringIO(to_csv([clip("=1+1.mp4", 0.5)], None)))
    assert row["file"] == "'=1+1.mp4"


def test_a_name_is_no_markup_and_the_report_needs_nothing_from_elsewhere():
    page = to_html([clip("<script>x</script>", 0.9), REFUSED], None, NO_MANIFEST, "<b>case</b>", "a note")
    assert "<script" not in page
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "&lt;b&gt;case&lt;/b&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "it is text" in page
    assert "Only a part could be read" in page
    assert "<svg" in page
