"""The TorchServe of this machine that runs with a given config.properties."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

MAIN_CLASS = "org.pytorch.serve.ModelServer"


@dataclass(frozen=True)
class RunningServer:
    """Where a running server keeps its key file and its logs.

    Attributes:
        directory: it was started in.
        log_dir: None where its environment names none.
    """

    directory: Path
    log_dir: Path | None


def find_running(config: Path) -> RunningServer | None:
    """The server that was started with this file as TS_CONFIG_FILE; None where this user sees none."""
    for process in psutil.process_iter():
        try:
            if MAIN_CLASS not in process.cmdline():
                continue
            environment, directory = process.environ(), Path(process.cwd())
        except psutil.Error:  # it has ended, or belongs to another user
            continue
        named = environment.get("TS_CONFIG_FILE")
        if named and (directory / named).resolve() == config.resolve():
            log_dir = environment.get("LOG_LOCATION")
            return RunningServer(directory, directory / log_dir if log_dir else None)
    return None
