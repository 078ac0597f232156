"""Starts what the chart renders for a pod, as a kubelet would: the containers' commands, environments and files.

The image's folder is the project's, volumes are directories below one of the test's, and paths in commands, variables
and files are changed to match. The containers have no root file system and no network of their own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from operations.settings import PROJECT_DIR, free_ports
from tests.deploy.chart import of_kind, render, the

IMAGE_FOLDER = "/opt/deepdetect"
PORTS = ("http", "grpc", "probes", "metrics", "inference", "management", "grpcInference", "grpcManagement")
START_LIMIT_S = 120.0


class Pod:
    """The pod of one Deployment of a release.

    Args:
        release: name of the release.
        clients: text of clients.map, which the cluster has as a secret.
        settings: of the chart, in the form `name=value`.
    """

    def __init__(self, release: str, clients: str, *settings: str) -> None:
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        chosen = [f"ports.{name}={port}" for name, port in self.ports.items()]
        self.objects = render(*settings, *chosen, release=release)
        deployment = the(self.objects, "Deployment")
        self.spec = deployment["spec"]["template"]["spec"]
        self.folder = Path(tempfile.mkdtemp(prefix="pod-"))  # short: the paths of sockets have 107 characters
        self.uid = self.spec["securityContext"]["runAsUser"]
        self.is_other_user = os.geteuid() == 0 and _may_use_the_project(self.uid)
        self.paths = {IMAGE_FOLDER: str(PROJECT_DIR), "/usr/bin/tini": shutil.which("tini") or "tini"}
        self._mount(clients)
        self._processes: dict[str, subprocess.Popen] = {}

    @property
    def address(self) -> str:
        """Of the proxy."""
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self) -> None:
        """Starts the sidecar, and the server when that has started; returns when the pod is ready."""
        for container in (*self.spec["initContainers"], *self.spec["containers"]):
            with (self.folder / f"{container['name']}.log").open("w") as log:
                if self.is_other_user:  # a kubelet gives a container's output to its user, who opens /dev/stdout anew
                    os.fchown(log.fileno(), self.uid, -1)
                process = self._run(container, self.command(container), stdout=log, stderr=log)
            self._processes[container["name"]] = process
            self.wait_for(lambda container=container: self.passes(container["startupProbe"]))
        self.wait_for(self.is_ready)

    def is_ready(self) -> bool:
        """Whether each container's readiness probe passes."""
        return all(
            self.passes(each["readinessProbe"]) for each in self.spec["initContainers"] + self.spec["containers"]
        )

    def passes(self, probe: dict[str, Any]) -> bool:
        """What the kubelet would find."""
        wanted = probe.get("httpGet") or probe["tcpSocket"]
        port = self.ports.get(wanted["port"], wanted["port"])
        try:
            response = requests.get(
                f"http://127.0.0.1:{port}{wanted.get('path', '/')}", timeout=probe.get("timeoutSeconds", 1)
            )
        except requests.RequestException:
            return False
        return "tcpSocket" in probe or response.status_code == 200

    def command(self, container: dict[str, Any]) -> list[str]:
        """Of a container, with this machine's paths."""
        command = [self.here(part) for part in (*container["command"], *container.get("args", ()))]
        if container["name"] == "proxy" and os.geteuid() == 0 and not self.is_other_user:
            command.append("--user=root")  # whose the folders are
        return command

    def wait_for_end(self, container: str) -> None:
        """Returns when the container has ended by itself."""
        self._processes[container].wait(30)

    def stop(self) -> None:
        """What happens to a pod that is deleted: preStop, SIGTERM to the server, and then to the sidecar."""
        until = time.monotonic() + self.spec["terminationGracePeriodSeconds"]
        (server,) = self.spec["containers"]
        if self._processes[server["name"]].poll() is None:
            hook = [self.here(part) for part in server["lifecycle"]["preStop"]["exec"]["command"]]
            self._run(server, hook).wait(max(0.0, until - time.monotonic()))
        for name in (server["name"], *(each["name"] for each in self.spec["initContainers"])):
            process = self._processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(max(1.0, until - time.monotonic()))

    def remove(self) -> None:
        """Ends whatever still runs, and removes the folder."""
        for process in self._processes.values():
            if process.poll() is None:
                for each in psutil.Process(process.pid).children(
                    recursive=True
                ):  # tini gives them a group of their own
                    each.kill()
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds; fails with the containers' last words."""
        deadline = time.monotonic() + START_LIMIT_S
        while not condition():
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(path.read_text(errors="replace")[-2_000:] for path in self.folder.glob("*.log"))
                raise AssertionError(f"{', '.join(dead) or 'nothing'} has ended; logs:\n{logs}")
            time.sleep(0.1)

    def here(self, text: str) -> str:
        """The text with the places where the container's paths lie here."""
        for path, place in sorted(self.paths.items(), reverse=True):  # /etc/deepdetect-clients before /etc/deepdetect
            text = text.replace(path, place)
        return text

    def _mount(self, clients: str) -> None:
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        maps = {each["metadata"]["name"]: each["data"] for each in of_kind(self.objects, "ConfigMap")}
        for container in (*self.spec["initContainers"], *self.spec["containers"]):
            for mount in container["volumeMounts"]:
                self.paths[mount["mountPath"]] = str(self.folder / mount["name"])
        for name, volume in volumes.items():
            place = self.folder / name
            place.mkdir()
            files = {"clients.map": clients} if "secret" in volume else {}
            files |= maps[volume["configMap"]["name"]] if "configMap" in volume else {}
            for file, text in files.items():
                (place / file).write_text(self.here(text))
        if self.is_other_user:
            self.folder.chmod(0o755)
            os.chown(self.state, self.uid, self.uid)

    def _run(self, container: dict[str, Any], command: list[str], **options: Any) -> subprocess.Popen:
        own = {entry["name"]: self.here(entry["value"]) for entry in container["env"]}
        if self.is_other_user:
            options |= {"user": self.uid, "group": self.uid, "extra_groups": []}
        return subprocess.Popen(
            command,
            cwd=self.here(container["workingDir"]),
            env={"PATH": os.environ["PATH"], "TINI_SUBREAPER": "1"} | own,
            start_new_session=True,
            **options,
        )


def _may_use_the_project(uid: int) -> bool:
    """Whether another user can run the project's Python: an image is for everybody, a developer's files may not be."""
    try:
        command = [PROJECT_DIR / ".venv" / "bin" / "python", "-c", "import ts, operations.serve"]
        return not subprocess.run(command, cwd=PROJECT_DIR, user=uid, group=uid, capture_output=True).returncode
    except PermissionError:
        return False
