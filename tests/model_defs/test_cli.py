"""The `deepdetect` command, run as users run it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from model_defs.cli import main


def test_json_prints_one_object_a_line_in_order(sample_clip, tmp_path, capsys):
    text = tmp_path / "line\nbreak.mp4"
    text.write_text("no clip")
    status = main(["detect", "--json", "--modality", "audio", "--device", "cpu", str(text), str(sample_clip)])
    refused, answer = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert status == 1
    assert refused["error"]["code"] == "unknown_container"
    assert refused["file_name"] == "line\nbreak.mp4"
    assert answer["file_name"] == sample_clip.name
    assert answer["prediction"] in ("Real", "Fake")


def test_the_table_shows_verdicts_and_refusals(sample_clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    empty = tmp_path / "[bold]empty.wav"
    empty.touch()
    status = main(["detect", "--device", "cpu", "--modality", "audio", str(sample_clip), str(empty)])
    printed = capsys.readouterr().out
    assert status == 1
    assert sample_clip.name in printed
    assert "[bold]empty.wav" in printed
    assert "empty_body" in printed


def test_all_judged_is_status_zero(sample_clip):
    assert main(["detect", "--device", "cpu", "--modality", "audio", str(sample_clip)]) == 0


def test_a_wrong_option_is_status_two_and_says_what_is_allowed(sample_clip, capsys):
    assert main(["detect", "--frames", "0", str(sample_clip)]) == 2
    assert "from 1 to 64" in capsys.readouterr().err


def test_info_is_json(capsys):
    assert main(["info", "--device", "cpu"]) == 0
    assert set(json.loads(capsys.readouterr().out)["models"]) == {"video", "audio"}


@pytest.mark.parametrize("arguments", [["--help"], ["detect", "--help"], ["info", "--help"]])
def test_help_teaches(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "deepdetect" in capsys.readouterr().out


def test_the_progress_bar_stays_off_stdout(sample_clip):
    command = [sys.executable, "-m", "model_defs.cli", "detect", "--json", "--modality", "audio", str(sample_clip)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(run.stdout.splitlines()) == 1
