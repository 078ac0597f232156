"""Where the project's server keeps what: its environment, its properties file, and ports for another one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

PROJECT_DIR = Path(__file__).resolve().parent.parent
PORT_KEYS = ("inference", "management", "metrics", "grpc_inference", "grpc_management")


def project_environment() -> dict[str, str]:
    """The environment of this process as env.sh changes it."""
    script = PROJECT_DIR / "env.sh"
    printer = "import json, os; print(json.dumps(dict(os.environ)))"
    command = ["bash", "-c", 'source "$0" && exec "$1" -c "$2"', str(script), sys.executable, printer]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def private_environment(
    directory: Path, model_store: Path, models: Iterable[str], settings: Mapping[str, Any]
) -> dict[str, str]:
    """The environment of a server that shares nothing with any other; writes its config.properties.

    Args:
        directory: for its configuration and logs; made if need be.
        model_store: where its archives lie.
        models: archives loaded when it starts.
        settings: lines of config.properties that differ from the project's; with a certificate it speaks https.

    Returns:
        With a temporary directory of its own as TEMP, which is the caller's to remove.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(PORT_KEYS, free_ports(len(PORT_KEYS)), strict=True))
    scheme = "https" if "certificate_file" in settings else "http"
    own: dict[str, Any] = {
        **{f"{key}_address": f"{scheme}://127.0.0.1:{ports[key]}" for key in PORT_KEYS[:3]},
        **{f"{key}_port": ports[key] for key in PORT_KEYS[3:]},
        "initial_worker_port": ports["inference"] + 10_000 if ports["inference"] < 50_000 else 20_000,
        "model_store": model_store.resolve(),
        "load_models": ",".join(f"{model}.mar" for model in models),
        "metrics_config": PROJECT_DIR / "config" / "metrics.yaml",
    }
    merged = read_properties(PROJECT_DIR / "config" / "config.properties") | own | dict(settings)
    config = directory / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in merged.items()))
    temporary = tempfile.mkdtemp(prefix="ts-")  # short: it is part of the sockets' paths
    return project_environment() | {
        "TS_CONFIG_FILE": str(config),
        "LOG_LOCATION": str(directory / "logs"),
        "METRICS_LOCATION": str(directory / "logs"),
        "TEMP": temporary,
        "TMPDIR": temporary,
    }


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
