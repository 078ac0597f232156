"""Where the project's server keeps what: its environment, its properties file, and ports for another one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent


def project_environment() -> dict[str, str]:
    """The environment of this process as env.sh changes it."""
    script = PROJECT_DIR / "env.sh"
    printer = "import json, os; print(json.dumps(dict(os.environ)))"
    command = ["bash", "-c", 'source "$0" && exec "$1" -c "$2"', str(script), sys.executable, printer]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def read_properties(path: Path) -> dict[str, str]:
    """The settings of a properties file."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def free_ports(n_ports: int) -> list[int]:
    """TCP ports of the loopback interface that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n_ports)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
