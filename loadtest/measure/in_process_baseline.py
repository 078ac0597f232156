"""The same work without a server: the engine in a loop, one clip at a time, nothing remembered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from operations.settings import PROJECT_DIR


def in_process_cpu_ms(model: str, clip: Path, seconds: float) -> float:
    """Processor milliseconds of one clip, measured in a process of its own.

    Raises:
        RuntimeError: the loop does not run.
    """
    command = [sys.executable, "-m", "loadtest.peers.in_process_loop", model, str(clip.parent), str(clip)]
    orders = [{"n_in_flight": 1, "seconds": 1.0}, {"n_in_flight": 1, "seconds": seconds}]  # the first warms up
    done = subprocess.run(
        command,
        cwd=PROJECT_DIR,
        input="".join(json.dumps(order) + "\n" for order in orders),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != 1 + len(orders):
        raise RuntimeError(f"the loop without a server failed: {done.stderr[-2_000:]}")
    measured = json.loads(lines[-1])
    return 1e3 * measured["cpu_s"] / len(measured["answers"])
