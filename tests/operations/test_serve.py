"""When `make serve` starts a server, and when it does not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from operations.serve import start_if_needed

ANEW = ["start", "wait for the models"]


class FakeServer:
    """Records what is asked of it; serves the archive with `digest`."""

    models = ["audio"]

    def __init__(self, directory: Path, *, running: bool, digest: str = "new") -> None:
        self.directory = directory
        self.model_store = directory
        self.archives = {"audio": "audio.mar"}
        self.environment = {"LOG_LOCATION": "logs"}
        self.process = object() if running else None
        self.digest = digest
        self.calls: list[str] = []

    def describe(self, model: str) -> dict | None:
        return {"customizedMetadata": {"version": "1.0", "digest": self.digest}} if self.digest else None

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")
        self.process = None

    def wait_until_ready(self, models: list[str] | None = None) -> None:
        self.calls.append("wait for the server" if models == [] else "wait for the models")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "audio.mar", "w") as archive:
        archive.writestr("deepdetect.json", json.dumps({"name": "audio", "version": "1.0", "digest": "new"}))
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": {"modelName": "audio", "modelVersion": "1.0"}}))
    return tmp_path


@pytest.mark.parametrize(
    ("running", "digest", "calls"),
    [
        pytest.param(False, "", ANEW, id="not running"),
        pytest.param(True, "new", ["wait for the server"], id="running"),
        pytest.param(True, "old", ["wait for the server", "stop", *ANEW], id="running with other archives"),
        pytest.param(True, "", ["wait for the server", "stop", *ANEW], id="running without the model"),
    ],
)
def test_a_server_is_started_only_if_needed(store, running, digest, calls):
    server = FakeServer(store, running=running, digest=digest)
    start_if_needed(server)
    assert server.calls == calls
