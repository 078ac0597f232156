"""Starts a TorchServe, waits until its models really answer, and stops it.

There are two kinds:

    server = TorchServe.of_project()                  # what env.sh and config/ describe
    server = TorchServe.private(directory, store, models)    # ports, logs, sockets and pid file of its own

    with server.running():
        server.http_client().predict("video", clip)
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import psutil
import requests

from client.errors import ClientError, KeyRefused
from client.inference import GrpcClient, HttpClient
from client.keys import KEY_FILE, Keys, NoKeys
from client.management import Management
from operations.cpu_quota import usable_cores
from operations.drain import hear_every_model
from operations.registry import Registry
from operations.running import MAIN_CLASS, find_running
from operations.server_logs import ServerLogs
from operations.settings import PROJECT_DIR, private_environment, project_environment, read_properties

STARTUP_TIMEOUT_S = 180.0
UMASK = 0o077  # TorchServe takes the key file away from other users only after it has written the keys into it
DRAIN_MARK = "deepdetect.draining"  # in the temp directory; its workers turn away what comes once it is there

logger = logging.getLogger(__name__)


class ServerError(RuntimeError):
    """TorchServe did not start, or a model did not become ready."""


@dataclass
class TorchServe:
    """One TorchServe process tree.

    Attributes:
        environment: the environment it runs in; TS_CONFIG_FILE, TEMP and LOG_LOCATION say where it keeps what.
        directory: its working directory.
        python: the interpreter that has torchserve, and that its workers run on.
        follows_releases: whether it starts with the versions that were promoted, see operations/registry.py.
    """

    environment: Mapping[str, str] = field(repr=False)  # it may hold secrets
    directory: Path
    python: str = sys.executable
    owned: list[Path] = field(default_factory=list)  # removed when it stops
    follows_releases: bool = False

    @classmethod
    def of_project(cls) -> TorchServe:
        """The server that `torchserve --start` gives after `source env.sh`."""
        environment = project_environment()
        directory = Path(environment.get("DEEPDETECT_STATE") or PROJECT_DIR)
        return cls(environment, directory, follows_releases=True)

    @classmethod
    def at(cls, directory: Path | None, config: Path | None = None, log_dir: Path | None = None) -> TorchServe:
        """A running server, known by the directory it was started in, its config.properties and where it logs.

        What is None is that of the server that runs with this configuration, else the project's.
        """
        if config and (running := find_running(config)):
            directory, log_dir = directory or running.directory, log_dir or running.log_dir
        changed = {"TS_CONFIG_FILE": config, "LOG_LOCATION": log_dir}
        resolved = {name: str(path.resolve()) for name, path in changed.items() if path}
        project = cls.of_project()
        return cls({**project.environment, **resolved}, (directory or project.directory).resolve())

    @classmethod
    def private(
        cls,
        directory: Path,
        model_store: Path,
        models: Iterable[str] = (),
        *,
        python: str = sys.executable,
        settings: Mapping[str, Any] | None = None,
    ) -> TorchServe:
        """A server that shares nothing with any other on the machine.

        Args:
            directory: for its configuration and logs; made if need be.
            model_store: where its archives lie.
            models: archives loaded when it starts, such as `video`.
            python: the interpreter to run it on.
            settings: lines of config.properties that differ from the project's; with a certificate it speaks https.
        """
        environment = private_environment(directory, model_store, models, settings or {})
        return cls(environment, directory, python, [Path(environment["TEMP"])])

    @property
    def properties(self) -> dict[str, str]:
        return read_properties(Path(self.environment["TS_CONFIG_FILE"]))

    @property
    def inference(self) -> str:
        """Address of the inference API."""
        return self.properties["inference_address"]

    @property
    def management(self) -> str:
        """Address of the management API."""
        return self.properties["management_address"]

    @property
    def metrics(self) -> str:
        """HTTP address of the metrics API."""
        return self.properties["metrics_address"]

    @property
    def model_store(self) -> Path:
        """The directory that archives are registered from."""
        return self.directory / self.properties["model_store"]

    @property
    def log_dir(self) -> Path:
        return self.directory / self.environment["LOG_LOCATION"]

    @property
    def logs(self) -> ServerLogs:
        """What it and its workers have written."""
        return ServerLogs(self.log_dir)

    @property
    def grpc_inference(self) -> str:
        """Host and port of the gRPC inference service, with https:// before them if it speaks TLS."""
        properties = self.properties
        scheme = "https://" if properties.get("enable_grpc_ssl") == "true" else ""
        return f"{scheme}{properties['grpc_inference_address']}:{properties['grpc_inference_port']}"

    @cached_property
    def keys(self) -> Keys | NoKeys:
        """The keys of this server."""
        if self.properties.get("disable_token_authorization") == "true":
            return NoKeys()
        return Keys(self.directory / KEY_FILE.name, self.management, verify=self.verify)

    @property
    def verify(self) -> bool | str:
        """What its https certificates are checked against: its own certificate, unless the environment names a file."""
        certificate = self.properties.get("certificate_file")
        return os.environ.get("DEEPDETECT_CA_FILE") or (str(self.directory / certificate) if certificate else True)

    @cached_property
    def management_api(self) -> Management:
        """A client of its management API, with its keys."""
        return Management(self.management, keys=self.keys, verify=self.verify)

    def http_client(self, **options: Any) -> HttpClient:
        """A client of this server, with its keys; the options are those of `HttpClient`."""
        return HttpClient(self.inference, **{"keys": self.keys, "verify": self.verify, **options})

    def grpc_client(self, **options: Any) -> GrpcClient:
        """The same over gRPC."""
        return GrpcClient(self.grpc_inference, **{"keys": self.keys, "verify": self.verify, **options})

    @property
    def models(self) -> list[str]:
        """Names of the models that it loads when it starts."""
        return [entry.removesuffix(".mar") for entry in self.properties["load_models"].split(",") if entry]

    @property
    def archives(self) -> dict[str, str]:
        """Model -> the archive of the model store that it starts with."""
        released = Registry(self.model_store).archives() if self.follows_releases else {}
        return {model: released.get(model, f"{model}.mar") for model in self.models}

    @property
    def process(self) -> psutil.Process | None:
        """The running Java process; None when there is none."""
        try:
            process = psutil.Process(int(self._pid_file.read_text()))
            alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            return process if alive and MAIN_CLASS in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    @contextmanager
    def running(self, models: Iterable[str] | None = None, *, drain_timeout_s: float = 30.0) -> Iterator[TorchServe]:
        """Starts it, waits until its models are ready, and stops it in the end, also where that did not work out.

        Args:
            models: those to wait for; None means all that it loads when it starts.
            drain_timeout_s: how long requests may take to finish in the end.

        Raises:
            ServerError: it would not start, or a model did not become ready.
        """
        try:
            self.start()
            self.wait_until_ready(models)
            yield self
        finally:
            self.stop(drain_timeout_s)

    def start(self) -> None:
        """Starts it in the background, from where it outlives this process.

        Raises:
            ServerError: it would not start, or another server has its ports.
        """
        if self._answers():
            raise ServerError(f"another server already answers at {self.management}; stop that one first")
        self._make_room()
        with (self.log_dir / "console.log").open("w") as console:
            done = self._torchserve(*self._start_arguments(), stdout=console, stderr=subprocess.STDOUT)
        if done.returncode or not self.process:
            raise ServerError(f"torchserve --start failed:\n{self.logs.tail()}")

    def become(self) -> NoReturn:
        """Replaces this process by `torchserve --start --foreground`, as a container wants it.

        Numeric libraries get as many threads as the cgroup has cores, unless OMP_NUM_THREADS says otherwise.
        """
        self._make_room()
        environment = {"OMP_NUM_THREADS": str(max(1, int(usable_cores()))), **self.environment}
        os.chdir(self.directory)
        os.umask(UMASK)
        command = [self.python, "-m", "ts.model_server", *self._start_arguments(), "--foreground"]
        os.execve(self.python, command, environment)

    def _make_room(self) -> None:
        Path(self.environment["TEMP"]).mkdir(parents=True, exist_ok=True)
        self._drain_mark.unlink(missing_ok=True)  # of a server that was killed while it drained
        self.log_dir.mkdir(parents=True, exist_ok=True)

    def _start_arguments(self) -> list[str]:
        return ["--start", "--ncs", *(["--models", *self.archives.values()] if self.models else [])]

    def stop(self, drain_timeout_s: float = 30.0) -> bool:
        """Lets it finish what it has, stops it and waits until it is gone; False when it was not running.

        Args:
            drain_timeout_s: how long requests may take to finish; 0 stops at once, and TorchServe then drops them.
        """
        process = self.process
        if process is not None:
            if drain_timeout_s > 0:
                self._drain(drain_timeout_s)
            tree = [process, *process.children(recursive=True)]
            self._torchserve("--stop", "--foreground", capture_output=True)
            _, left = psutil.wait_procs(tree, timeout=10)
            for straggler in left:
                straggler.kill()
            (self.directory / KEY_FILE.name).unlink(missing_ok=True)  # a killed server leaves it
            self._drain_mark.unlink(missing_ok=True)
        for path in self.owned:
            shutil.rmtree(path, ignore_errors=True)
        return process is not None

    def _drain(self, timeout_s: float) -> None:
        """Returns when all that came before is answered, and what has come since was turned away with a 503."""
        deadline = time.monotonic() + timeout_s
        try:
            hear_every_model(self.management_api, deadline)  # it asks in the queue, behind what is there now
            self._drain_mark.touch()
            hear_every_model(self.management_api, deadline)
        except ClientError as error:
            logger.warning("stopping with requests in flight: %s", error)

    def describe(self, model: str, version: str | None = None) -> dict[str, Any] | None:
        """What the management API says of a model, its archive's manifest included; None if it is not there."""
        described = self._get(f"/models/{model}" + (f"/{version}" if version else ""), customized="true")
        return described[0] if described else None

    def ready(self, model: str) -> bool:
        """Whether every worker that the model wants is READY; `/ping` would not know."""
        described = self._get(f"/models/{model}")
        if not described:
            return False
        n_ready = sum(worker["status"] == "READY" for worker in described[0]["workers"])
        return n_ready >= max(1, described[0]["minWorkers"])

    def wait_until_ready(self, models: Iterable[str] | None = None, timeout_s: float = STARTUP_TIMEOUT_S) -> None:
        """Returns when the server answers and all workers of the models are READY.

        Args:
            models: names; None means all that it loads when it starts.

        Raises:
            ServerError: the server died, or it took longer than `timeout_s`.
        """
        wanted = list(self.models if models is None else models)
        deadline = time.monotonic() + timeout_s
        while waiting := self._not_ready(wanted):
            if not self.process:
                raise ServerError(f"TorchServe died:\n{self.logs.tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{', '.join(waiting)} not ready after {timeout_s:.0f} s:\n{self.logs.tail()}")
            time.sleep(0.2)

    @property
    def is_draining(self) -> bool:
        """Whether its workers turn requests away, because it is about to stop."""
        return self._drain_mark.exists()

    @property
    def _drain_mark(self) -> Path:
        return self._pid_file.with_name(DRAIN_MARK)

    @property
    def _pid_file(self) -> Path:
        return Path(self.environment.get("TMPDIR") or self.environment["TEMP"], ".model_server.pid")

    def _not_ready(self, models: Iterable[str]) -> list[str]:
        try:
            if self._get("/models") is None:
                return ["the server"]
            return [model for model in models if not self.ready(model)]
        except KeyRefused as error:  # the key file is that of the server before, or of none
            return [f"the server ({error})"]

    def _answers(self) -> bool:
        """Whether anybody answers at the management address, whatever it says."""
        try:
            requests.get(f"{self.management}/models", timeout=60, verify=self.verify)
        except requests.exceptions.SSLError:  # somebody who has another certificate
            return True
        except requests.RequestException:
            return False
        return True

    def _get(self, path: str, **parameters: str) -> Any:
        """What the management API answers; None when it does not, or has no such thing."""
        try:
            response = self.management_api.request("GET", path, parameters)
        except requests.RequestException:
            return None
        return response.json() if response.ok else None

    def _torchserve(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [self.python, "-m", "ts.model_server", *arguments]
        return subprocess.run(
            command, cwd=self.directory, env=self.environment, start_new_session=True, umask=UMASK, **options
        )
