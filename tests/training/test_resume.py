"""The real script, killed with SIGKILL in the middle of an epoch and resumed, ends as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import PROJECT_DIR
from training.loop.checkpoint import RunError
from training.train_audio import main

pytestmark = pytest.mark.usefixtures("few_resamples")

N_EXAMPLES_BEFORE = 13  # of eight an epoch: the second is under way

# Stops in the middle of the second epoch until it is killed; torch gets as many threads as here, for sums to be equal.
PROGRAM = f"""
import sys, time, torch
from training.tasks import audio as audio_task
from training import train_audio
torch.set_num_threads(int(sys.argv[1]))
make, n_made = audio_task.AudioExamples.__getitem__, 0
def make_or_wait(examples, draw):
    global n_made
    n_made += 1
    if n_made == {N_EXAMPLES_BEFORE}:
        print("waiting", flush=True)
        time.sleep(600)
    return make(examples, draw)
audio_task.AudioExamples.__getitem__ = make_or_wait
train_audio.main(sys.argv[2:])
"""


def arguments(dataset: Path, cache: Path, path: Path) -> list[str]:
    return [
        *("--network", "mfcc_gru_light", "--hop-length", "1024", "--workers", "0", "--device", "cpu", "--no-export"),
        *("--dataset", str(dataset), "--cache", str(cache), "--save-path", str(path), "--no-tensorboard"),
        *("--epochs", "3", "--batch-size", "2", "--ema-decay", "0.9", "--schedule", "plateau"),
    ]


def without_time(history: list[dict]) -> list[dict]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def test_more_epochs_extend_a_finished_run_and_fewer_are_refused(audio_dataset, tmp_path):
    path = tmp_path / "model.pt"
    common = arguments(audio_dataset, tmp_path / "cache", path)
    main([*common, "--epochs", "1"])
    first = json.loads(path.with_suffix(".history.json").read_text())
    main([*common, "--epochs", "2", "--resume"])
    history = json.loads(path.with_suffix(".history.json").read_text())
    assert (len(first), len(history), history[0]) == (1, 2, first[0])
    with pytest.raises(RunError, match="epochs 2, not 1"):
        main([*common, "--epochs", "1", "--resume"])


@pytest.mark.timeout(120)
def test_killed_run_resumes_to_the_same_digits(audio_dataset, tmp_path):
    cache = tmp_path / "cache"
    whole, killed = tmp_path / "whole.pt", tmp_path / "killed.pt"
    main(arguments(audio_dataset, cache, whole))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(torch.get_num_threads()), *arguments(audio_dataset, cache, killed)],
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert "waiting\n" in iter(process.stdout.readline, "")
    finally:
        os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(json.loads(killed.with_suffix(".history.json").read_text())) == 1
    main([*arguments(audio_dataset, cache, killed), "--resume"])
    expected, resumed = (torch.load(path.with_suffix(".last.pt"), weights_only=True) for path in (whole, killed))
    assert without_time(resumed["history"]) == without_time(expected["history"])
    assert len(resumed["history"]) == 3
    for name, tensor in expected["state"].items():
        assert torch.equal(tensor, resumed["state"][name]), name
    with pytest.raises(RunError, match="its config is lr 0.001, not 0.1"):
        main([*arguments(audio_dataset, cache, killed), "--resume", "--lr", "0.1"])
