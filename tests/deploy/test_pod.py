"""The pod that the chart renders, really started: its probes, its proxy, its end, and two of them behind nginx."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from client.errors import ClientError, ServerUnavailable
from client.inference import HttpClient
from client.keys import FixedKeys
from client.padding import unique
from client.retry import ONCE
from operations.settings import PROJECT_DIR, free_ports, read_properties
from samples.clip import make_sample
from tests.deploy.chart import the
from tests.deploy.pod import Pod

KEY = FixedKeys("k" * 32)
CLIENTS = f'"Bearer {KEY.inference}" newsroom;\n'
ROOMY = ("proxy.ratePerMinute=60000", "proxy.burst=500", "proxy.maxConnections=64", "termination.sleepSeconds=2")
N_CALLERS = 6

pytestmark = [
    pytest.mark.skipif(
        not (shutil.which("nginx") and shutil.which("tini")),
        reason="nginx or tini is not there: apt-get install nginx tini",
    ),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    return make_sample(tmp_path_factory.mktemp("clip") / "a.mp4", duration_s=2.0, width=480, height=360).read_bytes()


@pytest.fixture
def pod() -> Iterator[Pod]:
    _require_archives()
    pod = Pod("one", CLIENTS, *ROOMY)
    try:
        pod.start()
        yield pod
    finally:
        pod.remove()


def test_it_serves_writes_in_one_place_and_ends_without_losing_a_request(pod, clip, sample_clip):
    _check_what_is_served(pod, sample_clip)
    before = _files_of_the_project()
    calls = Calls(pod.address, clip)
    with calls:
        time.sleep(2)
        told_s = time.monotonic()
        pod.stop()
    assert [call for call in calls.done if call.sent_s < told_s and call.outcome != "judged"] == []
    # In a cluster nobody is sent here any more by then; whoever comes is told to go elsewhere, and never left waiting.
    assert {call.outcome for call in calls.done} <= {"judged", "come again"}
    assert len([call for call in calls.done if call.outcome == "judged"]) > 2 * N_CALLERS
    assert _files_of_the_project() == before
    assert (pod.state / "logs" / "request_log.jsonl").exists()


def _check_what_is_served(pod: Pod, sample: Path) -> None:
    config = read_properties(pod.folder / "config" / "config.properties")
    judged = HttpClient(pod.address, keys=KEY).predict("ensemble", sample.read_bytes(), file_name="a.mp4")
    assert judged.body["prediction"] in ("Real", "Fake")
    with pytest.raises(ClientError, match="a key of this proxy"):
        HttpClient(pod.address, keys=FixedKeys("x" * 32)).predict("ensemble", b"")
    assert (
        "deepdetect_requests_total" in requests.get(f"http://127.0.0.1:{pod.ports['metrics']}/metrics", timeout=30).text
    )
    assert requests.get(f"{pod.address}/models", timeout=30).status_code == 404
    too_large = HttpClient(pod.address, keys=KEY).predict("ensemble", bytes(int(config["max_request_size"]) + 1))
    assert (too_large.status, too_large.error_code) == (413, "too_large")
    (judge,) = the(pod.objects, "Pod")["spec"]["containers"]
    command = [part.replace("http://one-deepdetect:80", pod.address) for part in pod.command(judge)]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "ensemble"), done.stderr


def test_a_server_that_hangs_or_is_killed_is_noticed(pod):
    (server,) = pod.spec["containers"]
    assert pod.passes(server["livenessProbe"])
    java = [line for line in _processes() if "ModelServer" in line[1] and str(pod.state) in line[1]]
    assert len(java) == 1
    subprocess.run(["kill", "-9", java[0][0]], check=True)
    pod.wait_for_end("torchserve")  # the container ends with it, so the kubelet starts another
    deadline = time.monotonic() + 15
    while pod.passes(server["livenessProbe"]) or pod.is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_of_two_behind_nginx_one_drains_and_no_request_fails(clip, tmp_path):
    _require_archives()
    pods = [Pod(name, CLIENTS, *ROOMY) for name in ("one", "two")]
    balancer = None
    try:
        for pod in pods:
            pod.start()
        address, balancer = _balancer(tmp_path, [pod.ports["http"] for pod in pods])
        client = HttpClient(address, keys=KEY, retry=ONCE)
        leaving = threading.Thread(target=pods[0].stop)

        def judge(index: int) -> str:
            if index == 35:
                leaving.start()
            return client.predict("ensemble", unique(clip)).body.get("prediction", "refused")

        with ThreadPoolExecutor(N_CALLERS) as callers:
            outcomes = list(callers.map(judge, range(100)))
        leaving.join(120)
        client.close()
        assert len(outcomes) == 100
        assert set(outcomes) <= {"Real", "Fake"}
        served = [_judged(pod) for pod in pods]
        assert min(served) >= 10, served
    finally:
        if balancer:
            balancer.terminate()
            balancer.wait(30)
        for pod in pods:
            pod.remove()


class Calls:
    """Callers that send one file after another, each unlike the last, and note what comes of it."""

    def __init__(self, address: str, clip: bytes) -> None:
        self.client = HttpClient(address, keys=KEY, retry=ONCE)
        self.clip = clip
        self.done: list[Call] = []
        self._stopped = threading.Event()

    def __enter__(self) -> None:
        self._threads = [threading.Thread(target=self._call) for _ in range(N_CALLERS)]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.client.close()

    def _call(self) -> None:
        while not self._stopped.is_set():
            sent_s = time.monotonic()
            try:
                outcome = (
                    "judged" if "prediction" in self.client.predict("ensemble", unique(self.clip)).body else "refused"
                )
            except ServerUnavailable as error:
                outcome = "come again" if " 503 " in str(error) or "refused" in str(error) else str(error)
                time.sleep(0.1)
            except ClientError as error:
                outcome = repr(error)
            self.done.append(Call(sent_s, outcome))


@dataclass(frozen=True)
class Call:
    """One request: when it was sent, on the clock of time.monotonic(), and what came of it."""

    sent_s: float
    outcome: str


def _balancer(directory: Path, ports: list[int]) -> tuple[str, subprocess.Popen]:
    """The nginx of docs/scaling.md before servers at these ports."""
    page = (PROJECT_DIR / "docs" / "scaling.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```nginx\n(upstream .*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (port,) = free_ports(1)
    for number, upstream in zip((11, 12), ports, strict=True):
        block = block.replace(f"10.0.0.{number}:9080", f"127.0.0.1:{upstream}")
    block = block.replace("listen 80;", f"listen 127.0.0.1:{port};")
    temporary = " ".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    main = "user root; " if subprocess.run(["id", "-u"], capture_output=True, text=True).stdout == "0\n" else ""
    config.write_text(f"{main}pid {directory}/pid; events {{}} http {{ access_log off; {temporary}\n{block} }}")
    process = subprocess.Popen(["nginx", "-e", directory / "error.log", "-c", config, "-g", "daemon off;"])
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(f"http://127.0.0.1:{port}/nothing", timeout=5)
            return f"http://127.0.0.1:{port}", process
        except requests.ConnectionError:
            assert time.monotonic() < deadline, (directory / "error.log").read_text()
            time.sleep(0.1)


def _judged(pod: Pod) -> int:
    """How many files of the newsroom the pod has judged."""
    return len(re.findall(r'client=newsroom "POST \S+" 200', (pod.folder / "proxy.log").read_text()))


def _processes() -> list[tuple[str, str]]:
    listed = subprocess.run(["ps", "-eo", "pid,args", "-ww"], capture_output=True, text=True, check=True).stdout
    return [tuple(line.split(maxsplit=1)) for line in listed.splitlines()[1:]]


def _files_of_the_project() -> set[Path]:
    """What lies where a server without DEEPDETECT_STATE would write."""
    places = (
        PROJECT_DIR / "build" / "torchserve",
        PROJECT_DIR / "archives",
        PROJECT_DIR / "config",
        PROJECT_DIR / "logs",
    )
    return {path for place in places for path in place.rglob("*")} | set(PROJECT_DIR.iterdir())


def _require_archives() -> None:
    if not (PROJECT_DIR / "archives" / "ensemble.mar").exists():
        pytest.fail("archives/ensemble.mar is not there: run `make archive` first, or `make test`")
