"""A server is found by the configuration that it runs with."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from operations.running import MAIN_CLASS, RunningServer, find_running
from operations.server import TorchServe


@pytest.fixture
def config(tmp_path):
    """The configuration of a process that looks like TorchServe's from outside."""
    path = tmp_path / "run" / "config.properties"
    path.parent.mkdir()
    path.write_text("model_store=store\nmanagement_address=http://127.0.0.1:9\n")
    environment = os.environ | {"TS_CONFIG_FILE": path.name, "LOG_LOCATION": "logs"}
    command = [sys.executable, "-c", "print('up', flush=True); input()", MAIN_CLASS]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=path.parent, env=environment, **streams) as process:
        assert process.stdout.readline() == b"up\n"
        yield path
        process.stdin.close()


def test_the_running_server_tells_where_it_keeps_what(config):
    assert find_running(config) == RunningServer(config.parent, config.parent / "logs")
    server = TorchServe.at(None, config)
    assert (server.directory, server.log_dir) == (config.parent, config.parent / "logs")
    assert server.model_store == config.parent / "store"
    assert server.keys.path == config.parent / "key_file.json"


def test_what_is_told_wins(config, tmp_path):
    server = TorchServe.at(tmp_path, config, tmp_path / "elsewhere")
    assert (server.directory, server.log_dir) == (tmp_path, tmp_path / "elsewhere")


def test_no_server_runs_with_another_configuration(config, tmp_path):
    assert find_running(tmp_path / "config.properties") is None
