"""Two processes under torchrun learn what one learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from model_defs.networks.registry import build_network
from tests.conftest import PROJECT_DIR
from training import train_audio
from training.loop import distributed

# Runs the script in the place of one process; see `train_without_dropout`.
PROGRAM = """
import sys
from tests.training.loop.test_distributed import train_without_dropout
train_without_dropout(sys.argv[1:])
"""


def train_without_dropout(arguments: list[str]) -> None:
    """The script, with a network that draws no random numbers: they would differ from process to process."""

    def build(*sizes) -> nn.Module:
        net = build_network(*sizes)
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(module, nn.GRU):
                module.dropout = 0.0
        return net

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_audio, "build_network", build)
        train_audio.main(arguments)


def options(dataset: Path, folder: Path) -> list[str]:
    return [
        *("--network", "mfcc_bigru", "--hop-length", "1024", "--workers", "0", "--device", "cpu", "--no-export"),
        *("--dataset", str(dataset), "--cache", str(folder / "cache"), "--save-path", str(folder / "model.pt")),
        *("--epochs", "2", "--batch-size", "4", "--mixup", "0", "--no-tensorboard"),
    ]


@pytest.mark.timeout(240)
def test_two_processes_learn_what_one_learns(audio_dataset, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train_without_dropout(options(audio_dataset, one))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [*launcher, str(program), *options(audio_dataset, two)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT_DIR)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch 1/2:") == 1  # only one of the processes speaks
    histories = [json.loads((folder / "model.history.json").read_text()) for folder in (one, two)]
    assert [len(history) for history in histories] == [2, 2]
    for ours, theirs in zip(*histories, strict=True):
        for name in ours.keys() - {"seconds"}:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-3, abs=1e-4), name
    states = [torch.load(folder / "model.last.pt", weights_only=True) for folder in (one, two)]
    for name, tensor in states[0]["state"].items():
        torch.testing.assert_close(states[1]["state"][name], tensor, rtol=1e-3, atol=1e-3, msg=name)
    assert len(states[1]["random_states"]) == 2


def test_every_example_goes_to_one_process(monkeypatch):
    batches = [list(range(8)), list(range(8, 13)), [13], [14, 15]]
    parts = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        parts.append(distributed.divide_batches(batches))
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [batches[0], batches[1], batches[3]]
    assert all(abs(len(a) - len(b)) <= 1 for a, b in zip(*parts, strict=True))


def test_one_process_needs_no_group():
    with distributed.processes("cpu") as device, distributed.main_first():
        assert device == "cpu"
        assert distributed.is_main()
        assert distributed.gather(3) == [3]
        assert distributed.total(torch.ones(2)).tolist() == [1, 1]
        assert [0, 1, 2][distributed.my_part()] == [0, 1, 2]
