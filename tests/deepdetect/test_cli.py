"""The `deepdetect` command, run as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import pytest

from deepdetect.cli import CLOSED_PIPE, main
from samples.clip import make_sample

KINDS = ("video-heatmap", "audio-heatmap", "timeline")


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


def test_a_verdict_near_the_threshold_is_marked_when_asked(sample_clip, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for band, marked in (("0.5", True), ("0.001", False)):
        arguments = ["--device", "cpu", "--modality", "audio", "--uncertain-band", band]
        assert main(["detect", *arguments, str(sample_clip)]) == 0
        assert ("(uncertain)" in capsys.readouterr().out) is marked


def test_explain_writes_pictures_and_prints_what_they_show(sample_clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text, why = tmp_path / "notes.mp4", tmp_path / "reports" / "why"
    text.write_text("no clip")
    assert (
        main(["detect", "--device", "cpu", "--explain", str(why), str(sample_clip), str(text), str(sample_clip)]) == 1
    )
    names = {f"{stem}.{kind}.png" for stem in (sample_clip.stem, f"{sample_clip.stem}-2") for kind in KINDS}
    assert {path.name for path in why.iterdir()} == names
    assert all(cv2.imread(str(path)).size for path in why.iterdir())
    printed = capsys.readouterr().out
    assert "frame 9" in printed
    assert "window 2" in printed
    assert str(why / f"{sample_clip.stem}.timeline.png") in printed


def test_an_explanation_of_a_single_frame_is_drawn_too(sample_clip, tmp_path):
    arguments = ["--device", "cpu", "--modality", "video", "--frames", "1", "--explain", str(tmp_path)]
    assert main(["detect", *arguments, str(sample_clip)]) == 0
    assert len(list(tmp_path.iterdir())) == 2


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
    command = [sys.executable, "-m", "deepdetect.cli", "detect", "--json", "--modality", "audio", str(sample_clip)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(run.stdout.splitlines()) == 1


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Two seconds of speech as wav."""
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    return make_sample(path, duration_s=2.0, video_codec=None, audio_codec="pcm_s16le")


def run(*arguments: str | bytes | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "deepdetect.cli", *arguments]
    return subprocess.run(command, capture_output=True, env=os.environ | environment)


def test_a_name_that_is_no_utf8_is_judged_and_shown_as_text(sound):
    odd = os.path.join(os.fsencode(sound.parent), b"caf\xe9.wav")
    Path(os.fsdecode(odd)).write_bytes(sound.read_bytes())
    files = ["nowhere.wav", odd, sound]
    done = run("detect", "--json", "--modality", "audio", *files, PYTHONIOENCODING="utf-8:strict")
    missing, judged, last = (json.loads(line) for line in done.stdout.decode().splitlines())
    assert (done.returncode, missing["error"]["code"]) == (1, "unreadable_file")
    assert judged["file_name"] == r"caf\xe9.wav"
    assert judged["probabilities"] == last["probabilities"]
    assert r"caf\xe9.wav" in run("detect", "--modality", "audio", odd).stdout.decode()


@pytest.mark.parametrize("form", [["--json"], []])
def test_output_in_ascii_holds_no_broken_character(sound, form):
    path = sound.with_name("klö名.wav")
    path.write_bytes(sound.read_bytes())
    done = run("detect", *form, "--modality", "audio", path, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    if form:
        assert json.loads(done.stdout)["file_name"] == path.name


@pytest.mark.parametrize("form", [["--json"], []])
def test_a_closed_pipe_ends_it_quietly(sound, form):
    command = [sys.executable, "-m", "deepdetect.cli", "detect", *form, "--modality", "audio", sound, sound]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert done.returncode == CLOSED_PIPE
    assert done.stderr == b""


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"deepdetect {version('deepdetect')}\n"
