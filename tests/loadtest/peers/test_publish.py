"""Tables into a document."""

from __future__ import annotations

import json

import pytest

from loadtest.peers.publish import PublishError, filled, main, publish
from loadtest.peers.workload import PROJECT_DIR

DOCUMENT = "# Peers\n\n<!-- servers: begin -->\n\nold\n\n<!-- servers: end -->\n\nprose\n"


def test_a_table_takes_the_place_of_the_one_before_and_prose_stays():
    once = filled(DOCUMENT, "servers", "| new |\n")
    assert once == DOCUMENT.replace("old", "| new |")
    assert filled(once, "servers", "| new |\n") == once


@pytest.mark.parametrize("document", ["", DOCUMENT.replace("begin", "end"), DOCUMENT * 2], ids=["none", "two", "twice"])
def test_a_document_without_its_markers_is_refused(document):
    with pytest.raises(PublishError, match="servers: begin"):
        filled(document, "servers", "table")


def test_what_is_not_valid_is_not_published(tmp_path):
    document = tmp_path / "peers.md"
    document.write_text(DOCUMENT)
    (tmp_path / "table.md").write_text("| new |\n")
    standing = {"candidate": "LitServe", "model": "audio", "problem": "its verdict differs"}
    (tmp_path / "results.json").write_text(json.dumps({"standings": [standing]}))
    with pytest.raises(PublishError, match="LitServe with audio"):
        publish(tmp_path, document)
    assert document.read_text() == DOCUMENT
    (tmp_path / "results.json").write_text(json.dumps({"standings": [standing | {"problem": ""}]}))
    assert publish(tmp_path, document) == ["servers"]
    assert "| new |" in document.read_text()


def test_the_project_s_document_has_room_for_every_section():
    text = (PROJECT_DIR / "docs" / "peers.md").read_text()
    for section in ("servers", "runtimes"):
        assert "| new |" in filled(text, section, "| new |")


def test_without_figures_the_command_says_how_to_get_them(tmp_path, capsys):
    assert main(["--results", str(tmp_path)]) == 1
    assert "make peers" in capsys.readouterr().err
