"""Where and with what something was measured: printed beside every figure."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from loadtest.measure.results import Machine

PACKAGES = ("torch", "torchserve", "locust")
GPU_QUERY = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")


def describe_machine(archives: Iterable[Path] = ()) -> Machine:
    """This machine, now, and the digests of the archives that are served."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return Machine(
        hardware=f"{len(os.sched_getaffinity(0))} cores of {_processor()}",
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=_gpu(),
        versions=versions,
        date=datetime.now(UTC).date().isoformat(),
        archives={path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in archives},
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu() -> str:
    """What the driver calls the GPUs; empty where there is none."""
    try:
        asked = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ", ".join(asked.stdout.split("\n")).strip(", ")
