"""Whoever is measured: our TorchServe, the peers, and a loop without a server. Each in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from loadtest.measure.archive_copies import build_archive, copy_archive
from loadtest.measure.process_tree import ProcessTree
from loadtest.peers import tiny_handler
from loadtest.peers.closed_loop import PeerError, Target, Window, closed_loop
from loadtest.peers.workload import PROJECT_DIR, payload, serving_of
from operations.server import TorchServe
from operations.settings import free_ports

PEERS_PYTHON = PROJECT_DIR / ".venv-peers" / "bin" / "python"
STARTUP_TIMEOUT_S = 120.0
NO_CACHE = {"handler": {"cache": {"max_items": 0}}}
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"}  # no reports to their makers


class Candidate(ABC):
    """One way to serve one model.

    Args:
        model: `tiny`, `video`, `audio` or `ensemble`.
        directory: its own, for logs and whatever it writes; the tiny network lies in its parent.
        clip: the file whose copies are sent.
    """

    name: ClassVar[str]
    package: ClassVar[str]  # whose version stands in the table; empty for the loop
    options: ClassVar[str]  # what is set besides batches, workers and threads

    def __init__(self, model: str, directory: Path, clip: Path) -> None:
        self.model = model
        self.directory = directory
        self.clip = clip
        self.content = clip.read_bytes()
        directory.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def start(self) -> None:
        """Starts it in the background."""

    @abstractmethod
    def wait_until_ready(self) -> None:
        """Returns when it answers; raises PeerError where it does not come to that."""

    @property
    @abstractmethod
    def tree(self) -> ProcessTree:
        """Its processes."""

    @abstractmethod
    def measure(self, n_in_flight: int, seconds: float) -> Window:
        """Keeps it under load; raises PeerError where a request fails."""

    def stop(self) -> None:
        self.tree.end()

    def payload(self) -> bytes:
        return payload(self.model, self.content)


class Server(Candidate):
    """One that is reached over HTTP."""

    path: ClassVar[str] = "/predict"

    @property
    @abstractmethod
    def target(self) -> Target:
        """Where its requests go."""

    def measure(self, n_in_flight: int, seconds: float) -> Window:
        return closed_loop(self.target, self.payload, n_in_flight, seconds, self.tree.cpu_s)


class Ours(Server):
    """The project's own archive behind TorchServe, with its cache off; for `tiny` a handler of a few lines."""

    name, package = "TorchServe (ours)", "torchserve"
    options = "config.properties as it is: keys on, metrics on, request log on"

    def start(self) -> None:
        store = self.directory / "store"
        store.mkdir()
        archive = store / f"{self.model}.mar"
        if self.model == "tiny":
            serving = serving_of("tiny")
            config = {
                "minWorkers": serving.n_workers,
                "maxWorkers": serving.n_workers,
                "batchSize": serving.batch_size,
                "maxBatchDelay": serving.delay_ms,
                "responseTimeout": 120,
            }
            net = self.directory.parent / tiny_handler.NET_FILE
            build_archive(archive, Path(tiny_handler.__file__), config, [net])
        else:
            copy_archive(PROJECT_DIR / "archives" / archive.name, archive, NO_CACHE)
        self.server = TorchServe.private(self.directory / "server", store, [self.model])
        self.server.start()

    def wait_until_ready(self) -> None:
        self.server.wait_until_ready(timeout_s=STARTUP_TIMEOUT_S)

    @property
    def tree(self) -> ProcessTree:
        process = self.server.process
        if process is None:
            raise PeerError(f"TorchServe died:\n{self.server.logs.tail()}")
        return ProcessTree(process.pid)

    @property
    def target(self) -> Target:
        port = int(self.server.inference.rpartition(":")[2])
        return Target(port, f"/predictions/{self.model}", self.server.keys.headers("inference"))

    def stop(self) -> None:
        self.server.stop(drain_timeout_s=0)


class Peer(Server):
    """One that runs in the peers' environment."""

    ready_path: ClassVar[str]

    def settings(self) -> dict[str, str]:
        """What it takes from its environment."""
        return {}

    def start(self) -> None:
        (self.port,) = free_ports(1)
        environment = os.environ | QUIET | self.settings()
        environment |= {
            "PYTHONPATH": str(PROJECT_DIR),
            "PEER_MODEL": self.model,
            "PEER_DIRECTORY": str(self.directory.parent),
            "BENTOML_HOME": str(self.directory / "bentoml"),
        }
        self.log = self.directory / "console.log"
        with self.log.open("w") as console:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @abstractmethod
    def command(self) -> list[str]:
        """What is run."""

    def wait_until_ready(self) -> None:
        _wait(lambda: self._answers(), self)

    @property
    def tree(self) -> ProcessTree:
        return ProcessTree(self.process.pid)

    @property
    def target(self) -> Target:
        return Target(self.port, self.path)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise PeerError(f"{self.name} ended with {self.process.returncode}:\n{_tail(self.log)}")
        connection = self.target.connect()
        try:
            connection.request("GET", self.ready_path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        if self.process.poll() is None:
            super().stop()
            self.process.wait(timeout=10)


class LitServe(Peer):
    """LitServe, from PyPI."""

    name, package, ready_path = "LitServe", "litserve", "/health"
    options = "fast_queue (ZeroMQ), one API server"

    def command(self) -> list[str]:
        program = ["-m", "loadtest.peers.litserve_app", self.model, str(self.port), str(self.directory.parent)]
        return [str(PEERS_PYTHON), *program]


class BentoML(Peer):
    """BentoML, from PyPI."""

    name, package, ready_path = "BentoML", "bentoml", "/readyz"
    options = "adaptive batching, max_latency_ms 60,000 (its default; there is no fixed delay)"

    def command(self) -> list[str]:
        program = ["-m", "bentoml", "serve", "loadtest.peers.bentoml_app:Peer"]
        return [str(PEERS_PYTHON), *program, "--host", "127.0.0.1", "--port", str(self.port)]


class RayServe(Peer):
    """Ray Serve, from PyPI."""

    name, package, ready_path = "Ray Serve", "ray", "/-/healthz"
    options = "RAY_SERVE_THROUGHPUT_OPTIMIZED, RAY_SERVE_ENABLE_HA_PROXY (its HAProxy listens on all interfaces)"

    def settings(self) -> dict[str, str]:
        metrics_port, stats_port = free_ports(2)
        return {
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(self.directory / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(self.directory / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(self.directory),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(self.directory / "server-state"),
            "RAY_AUTH_MODE": "disabled",
        }

    def command(self) -> list[str]:
        program = ["-m", "loadtest.peers.ray_app", self.model, str(self.port), str(self.directory.parent)]
        return [str(PEERS_PYTHON), *program]


class InProcessLoop(Candidate):
    """The model in a loop: what is left when there is no server."""

    name, package = "in-process baseline", ""
    options = "no server; as many together as are in flight, a batch at most"

    def start(self) -> None:
        clip = [] if self.model == "tiny" else [str(self.clip.resolve())]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.log = self.directory / "console.log"
        with self.log.open("w") as console:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "loadtest.peers.in_process_loop", self.model, str(self.directory.parent), *clip],
                cwd=PROJECT_DIR,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                text=True,
            )

    def wait_until_ready(self) -> None:
        self._read()

    @property
    def tree(self) -> ProcessTree:
        return ProcessTree(self.process.pid)

    def measure(self, n_in_flight: int, seconds: float) -> Window:
        self.process.stdin.write(json.dumps({"n_in_flight": n_in_flight, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        record = self._read()
        return Window(**record | {"answers": [answer.encode() for answer in record["answers"]]})

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"the {self.name} ended:\n{_tail(self.log)}")
        return json.loads(line)


CANDIDATES: tuple[type[Candidate], ...] = (Ours, LitServe, BentoML, RayServe, InProcessLoop)


def _wait(is_ready: Callable[[], bool], candidate: Peer) -> None:
    deadline = time.monotonic() + STARTUP_TIMEOUT_S
    while not is_ready():
        if time.monotonic() > deadline:
            raise PeerError(f"{candidate.name} was not ready after {STARTUP_TIMEOUT_S:g} s:\n{_tail(candidate.log)}")
        time.sleep(0.2)


def _tail(log: Path, n_lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-n_lines:])
