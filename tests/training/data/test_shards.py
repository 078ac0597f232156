"""Two machines that each hold half of the train clips learn what one that holds all of them learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from operations.settings import free_ports
from tests.conftest import PROJECT_DIR
from tests.training.loop.test_distributed import PROGRAM, options, train_without_dropout


@pytest.mark.timeout(280)
def test_two_machines_with_half_of_the_clips_each_learn_what_one_with_all_learns(audio_dataset, tmp_path):
    train_without_dropout(options(audio_dataset, tmp_path / "one"))
    (port,) = free_ports(1)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test"]
    machines = [
        subprocess.Popen(
            [
                *(*launcher, *meeting, str(program)),
                *options(audio_dataset, tmp_path / f"machine-{number}"),  # each with a cache of its own
                *("--save-path", str(tmp_path / "shared" / "model.pt"), "--sharded"),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT_DIR)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [machine.communicate(timeout=200)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs[0][-2_000:] + outputs[1][-2_000:]
    everything, *parts = (arrays(tmp_path / name / "cache") for name in ("one", "machine-0", "machine-1"))
    assert parts[0] | parts[1] == everything
    assert all(len(part) < len(everything) for part in parts)
    n_val = len(parts[0] & parts[1])
    assert 0 < n_val < len(everything) / 2, "val alone is everywhere"
    histories = [json.loads((tmp_path / name / "model.history.json").read_text()) for name in ("one", "shared")]
    for ours, theirs in zip(*histories, strict=True):
        for name in ours.keys() - {"seconds"}:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-3, abs=1e-4), name
    states = [torch.load(tmp_path / name / "model.last.pt", weights_only=True)["state"] for name in ("one", "shared")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-3, atol=1e-3, msg=name)


def arrays(cache: Path) -> set[str]:
    """Digests of the files whose arrays lie in a cache."""
    return {path.stem for path in cache.rglob("*.npy")}
