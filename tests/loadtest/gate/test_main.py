"""The gate's command line, its baselines, and the archives it compares with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.gate import __main__ as gate
from loadtest.gate.baselines import Baseline, BaselineError, baseline_path
from loadtest.gate.comparison import Series
from loadtest.measure.results import Machine

MACHINE = Machine(
    "2 cores of AMD EPYC", 7.8, "", {"python": "3.11.9", "torch": "2.8.0", "torchserve": "0.12.0"}, "2026-11-24"
)
SERIES = Series((200.0, 201.0), (250.0, 251.0), (220.0, 221.0), {"decode": 90.0})


def test_a_baseline_is_found_again_by_the_same_machine_alone(tmp_path):
    baseline = Baseline(MACHINE, "20 requests", {"video": SERIES})
    path = baseline.save(tmp_path)
    assert path.name == "2-cores-of-amd-epyc_python-3.11.9_torch-2.8.0_torchserve-0.12.0.json"
    assert Baseline.load_for(replace(MACHINE, date="2027-01-01", archives={"video": "other"}), tmp_path) == baseline
    for other in (
        replace(MACHINE, hardware="4 cores of AMD EPYC"),
        replace(MACHINE, gpu="NVIDIA L4"),
        replace(MACHINE, versions=MACHINE.versions | {"torch": "2.9.0"}),
    ):
        assert Baseline.load_for(other, tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}, "load": "", "series": {}}'])
def test_a_broken_baseline_says_so(tmp_path, text):
    baseline_path(MACHINE, tmp_path).write_text(text)
    with pytest.raises(BaselineError, match="is no baseline: .*STORE=1"):
        Baseline.load_for(MACHINE, tmp_path)


def test_an_unknown_machine_compares_nothing_and_says_so(tmp_path, monkeypatch, capsys):
    """No server is started for it."""
    monkeypatch.setattr(gate, "describe_machine", lambda archives: replace(MACHINE, hardware="an abacus"))
    archives, clip = tmp_path / "archives", tmp_path / "clip.mp4"
    archives.mkdir()
    for path in (clip, archives / "audio.mar"):
        path.write_bytes(b"")
    assert (
        gate.main(["--archives", str(archives), "--clip", str(clip), "--models", "audio", "--baselines", str(tmp_path)])
        == gate.NO_BASELINE
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert "an-abacus_python-3.11.9" in shown
    assert "STORE=1" in shown


def test_a_baseline_of_another_load_is_not_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gate, "describe_machine", lambda archives: MACHINE)
    Baseline(MACHINE, "other load", {"audio": SERIES}).save(tmp_path)
    clip = tmp_path / "clip.mp4"
    for path in (clip, tmp_path / "audio.mar"):
        path.write_bytes(b"")
    arguments = ["--archives", str(tmp_path), "--clip", str(clip), "--models", "audio", "--baselines", str(tmp_path)]
    assert gate.main(arguments) == gate.NOT_MEASURED
    assert "was measured with other load" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "at least 1"),
        (["--models", "text"], "invalid choice"),
        (["--archives", "/nowhere"], "make archive sample"),
        (["--store", "--against", "HEAD"], "not allowed with"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        gate.main(arguments)
    assert message in capsys.readouterr().err
