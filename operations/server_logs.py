"""What a TorchServe and its workers have written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 25


@dataclass(frozen=True)
class ServerLogs:
    """The log files of one server.

    Attributes:
        directory: where they lie; none need be there yet.
    """

    directory: Path

    def tail(self) -> str:
        """The last lines of what the server and its workers wrote."""
        lines: list[str] = []
        for name in ("console.log", "model_log.log"):
            path = self.directory / name
            if path.exists():
                lines += [f"--- {path}", *path.read_text(errors="replace").splitlines()[-TAIL_LINES:]]
        return "\n".join(lines)

    def workers_size_bytes(self) -> int:
        """How long the log of the workers is: a mark for `workers_since`."""
        return self._workers.stat().st_size if self._workers.exists() else 0

    def workers_since(self, size_bytes: int, model: str, version: str) -> list[str]:
        """What the workers of one version have written since the log had that size."""
        if not self._workers.exists():
            return []
        with self._workers.open(errors="replace") as log:
            if self._workers.stat().st_size >= size_bytes:  # else it was rotated
                log.seek(size_bytes)
            lines = [line.rstrip() for line in log if f"-{model}_{version}-" in line]
        return [line.partition(" MODEL_LOG - ")[2] or line for line in lines]

    @property
    def _workers(self) -> Path:
        return self.directory / "model_log.log"
