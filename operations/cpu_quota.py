"""How many cores this process may really use: a container's quota, which `os.cpu_count()` does not know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores(mount: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float:
    """The least of the cores that this process may run on and the CPU quotas of its cgroup and those above, v1 or v2.

    Args:
        mount: where the cgroup file systems are.
        own: tells in which cgroups this process is.
    """
    return min([float(len(os.sched_getaffinity(0))), *_quotas(mount, own)])


def _quotas(mount: Path, own: Path) -> Iterator[float]:
    """Cores a second that each cgroup from this process's own up allows; nothing for those without a limit."""
    for directory in _directories(mount, own):
        try:
            if (unified := directory / "cpu.max").exists():  # "150000 100000", or "max 100000"
                quota, period = unified.read_text().split()
            else:
                quota = (directory / "cpu.cfs_quota_us").read_text().strip()  # -1 without a limit
                period = (directory / "cpu.cfs_period_us").read_text()
            if quota.isdecimal():
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue


def _directories(mount: Path, own: Path) -> Iterator[Path]:
    """This process's directories in the CPU hierarchy, and those above.

    Within a container the file system shows its own cgroup at the top, whatever path the process is told to be in.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            tops = (mount, mount / "unified")
        elif "cpu" in controllers.split(","):
            tops = (mount / "cpu", mount / controllers)
        else:
            continue
        for top in tops:
            inside = top / path.lstrip("/")
            yield inside
            yield from (parent for parent in inside.parents if parent == top or parent.is_relative_to(top))
