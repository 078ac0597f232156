"""The networks in other runtimes; those run only where the peers' environment is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from training import runtimes
from training.runtimes import Built, Figure, Inputs, markdown, measure

PROJECT_DIR = Path(__file__).resolve().parents[2]
PEERS_PYTHON = PROJECT_DIR / ".venv-peers" / "bin" / "python"


def answering(margin: float):
    """A runtime that gives every input the same logits."""
    return lambda batch: np.tile(np.array([[0.0, margin]], np.float32), (len(batch), 1))


def test_differences_are_from_the_first_and_sizes_are_kept():
    inputs = Inputs(torch.zeros(3, 2, 4), [], [torch.zeros(1, 2, 4)] * 5, "")
    built = [Built("a", "fp32", answering(0.0), 400), Built("b", "int8", answering(-1.0), 100)]
    first, second = measure("audio", built, inputs, n_repeats=3)
    assert (first.max_abs_diff, first.agreement, first.n_inputs) == (0.0, 1.0, 5)
    assert second.max_abs_diff == pytest.approx(0.5 - 1 / (1 + np.e))
    assert second.agreement == 0.0  # 0.5 is fake, and the other is below
    assert second.size_bytes == 100
    assert min(first.forward_ms, second.forward_ms) > 0


def test_the_table_holds_ratios_to_our_fp32():
    figures = [
        Figure("audio", "TorchScript (ours)", "fp32", 20.0, 2**21, 0.0, 1.0, 24),
        Figure("audio", "OpenVINO", "int8", 5.0, 2**20, 0.125, 22 / 24, 24),
    ]
    machine = {"hardware": "X x2", "versions": {"torch": "2.8.0"}, "date": "2026-11-24"}
    text = markdown(figures, {"audio": "calibrated on nothing"}, machine)
    assert "X x2; one thread; torch 2.8.0; 2026-11-24" in text
    assert "| OpenVINO | int8 | 5.0 ms | 0.25 | 1.0 MiB | 0.12 | 22 of 24 |" in text
    assert "calibrated on nothing" in text


def test_without_the_other_runtimes_it_says_where_they_are(monkeypatch, capsys):
    def absent(name: str) -> str:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(runtimes, "version", absent)
    with pytest.raises(SystemExit):
        runtimes.main([])
    assert (
        "onnxruntime is not installed; run .venv-peers/bin/python, which `make peers` makes" in capsys.readouterr().err
    )


def test_a_data_set_must_name_its_modality(capsys):
    with pytest.raises(SystemExit):
        runtimes.main(["--dataset", "clips"])
    assert "video=DIR" in capsys.readouterr().err


@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="needs .venv-peers, which `make peers` makes")
def test_every_runtime_judges_the_sample_like_torchscript(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(PEERS_PYTHON), "-m", "training.runtimes", "--modalities", "audio", "--repeats", "1"]
    subprocess.run([*command, "--output", str(tmp_path)], cwd=PROJECT_DIR, env=environment, check=True, timeout=200)
    figures = json.loads((tmp_path / "runtimes.json").read_text())["figures"]
    assert [(figure["runtime"], figure["precision"]) for figure in figures] == [
        (runtime, precision)
        for runtime in ("TorchScript (ours)", "ONNX Runtime", "OpenVINO")
        for precision in ("fp32", "int8")
    ]
    for figure in figures:
        assert figure["forward_ms"] > 0
        assert figure["size_bytes"] > 10_000
        if figure["precision"] == "fp32":
            assert figure["max_abs_diff"] < 1e-4
