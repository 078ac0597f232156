from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from operations.cpu_quota import CGROUPS, usable_cores
from operations.settings import PROJECT_DIR

N_CORES = len(os.sched_getaffinity(0))


def cgroup(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".", 1)).write_text(text)


def own(directory: Path, text: str) -> Path:
    path = directory / "self"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("limit", "cores"), [("50000 100000\n", 0.5), ("max 100000\n", N_CORES), ("100000000 100000\n", N_CORES)]
)
def test_the_second_version_of_cgroups(tmp_path, limit, cores):
    cgroup(tmp_path / "a" / "b", cpu_max=limit)
    assert usable_cores(tmp_path, own(tmp_path, "0::/a/b\n")) == cores


def test_a_group_above_may_allow_less(tmp_path):
    cgroup(tmp_path / "a" / "b", cpu_max="90000 100000\n")
    cgroup(tmp_path / "a", cpu_max="20000 100000\n")
    assert usable_cores(tmp_path, own(tmp_path, "0::/a/b\n")) == 0.2


def test_the_first_version(tmp_path):
    cgroup(tmp_path / "cpu,cpuacct" / "a", cpu_cfs_quota_us="25000\n", cpu_cfs_period_us="100000\n")
    assert usable_cores(tmp_path, own(tmp_path, "3:memory:/a\n2:cpu,cpuacct:/a\n")) == 0.25


def test_inside_a_container_its_own_group_is_at_the_top(tmp_path):
    cgroup(tmp_path, cpu_max="30000 100000\n")
    assert usable_cores(tmp_path, own(tmp_path, "0::/kubepods/pod1/container2\n")) == 0.3


def test_without_cgroups_it_is_the_cores_that_the_process_may_run_on(tmp_path):
    assert usable_cores(tmp_path, tmp_path / "absent") == N_CORES


def test_a_real_quota():
    top = next((top for top in (CGROUPS / "cpu", CGROUPS) if os.access(top / "cgroup.procs", os.W_OK)), None)
    group = top / f"deepdetect-test-{os.getpid()}" if top else None
    try:
        group.mkdir()
        name, limit = ("cpu.max", "70000 100000") if (group / "cpu.max").exists() else ("cpu.cfs_quota_us", "70000")
        (group / name).write_text(limit)
    except (AttributeError, OSError) as error:
        if group and group.exists():
            group.rmdir()
        pytest.skip(f"no cgroup with a quota can be made here: {error}")
    try:
        code = "from operations.cpu_quota import usable_cores; print(usable_cores())"
        script = f'echo $$ > {group}/cgroup.procs && exec "{sys.executable}" -c "{code}"'
        done = subprocess.run(["sh", "-c", script], cwd=PROJECT_DIR, capture_output=True, text=True)
        assert done.stdout == "0.7\n", done.stderr
    finally:
        group.rmdir()
