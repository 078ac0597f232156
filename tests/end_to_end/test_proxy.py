"""The real nginx with our configuration before the real server."""

from __future__ import annotations

import base64
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from client.errors import ClientUnknown, RateLimited, RequestFailed, ServerUnavailable
from client.inference import GrpcClient, HttpClient
from client.keys import FixedKeys
from client.retry import ONCE
from operations import proxy
from operations.proxy import ProxySettings
from operations.server import PROJECT_DIR, TorchServe
from operations.settings import free_ports

RETRY_AFTER_S = 2
MAX_BODY_BYTES = 2 * 2**20
NOBODY = "127.0.0.1:9"  # the discard port: nothing listens
CLIENTS = (
    "kserve",
    "form",
    "head",
    "pipeline",
    "passing",
    "passing-grpc",
    "limited",
    "limited-grpc",
    "neighbour",
    "patient",
    "patient-grpc",
    "large",
    "odd",
)

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed: apt-get install nginx")


class Nginx:
    """One nginx with a directory of its own, and a key for each of the test's clients."""

    def __init__(self, directory: Path, server: TorchServe, **settings) -> None:
        self.directory = directory
        http_port, grpc_port = free_ports(2)
        own = {
            "http_listen": f"127.0.0.1:{http_port}",
            "grpc_listen": f"127.0.0.1:{grpc_port}",
            "inference": server.inference.removeprefix("http://"),
            "grpc_inference": server.grpc_inference,
            "rate_per_minute": 60 // RETRY_AFTER_S,
            "burst": 1,
            "max_body_bytes": MAX_BODY_BYTES,
            "user": getpass.getuser(),  # whose directory it is
        }
        self.settings = ProxySettings(**own | settings)
        self.scheme = "https" if self.settings.certificate else "http"
        self.address = f"{self.scheme}://{self.settings.http_listen}"
        self.config = proxy.write(directory, self.settings, server.keys)
        self.keys = {name: FixedKeys(proxy.add_client(directory, name)) for name in CLIENTS}
        command = ["nginx", "-p", str(directory), "-c", str(self.config), "-g", "daemon off;"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_until(lambda: (directory / "nginx.pid").exists() and self._answers(), directory / "error.log")

    def http(self, name: str, **options) -> HttpClient:
        return HttpClient(self.address, keys=self.keys[name], **options)

    def grpc(self, name: str, **options) -> GrpcClient:
        prefix = "https://" if self.settings.certificate else ""
        return GrpcClient(prefix + self.settings.grpc_listen, keys=self.keys[name], **options)

    def statuses(self, name: str) -> list[int]:
        """The statuses of a client's requests, in the order in which they ended."""
        log = (self.directory / "access.log").read_text()
        return [int(status) for status in re.findall(rf'client={name} "POST \S+" (\d+)', log)]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def _answers(self) -> bool:
        try:
            trusted = self.settings.certificate or True
            return requests.get(f"{self.address}/nothing", verify=trusted, timeout=5).status_code == 404
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def nginx(server, tmp_path_factory) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), server)
    yield nginx
    nginx.stop()


def test_answers_pass_to_the_digit(nginx, http, over_grpc, sound):
    direct = http.predict("audio", sound).body
    for client in (nginx.http("passing"), nginx.grpc("passing-grpc")):
        reply = client.predict("audio", sound, file_name="a.wav")
        assert reply.status == 200
        assert (reply.body["probabilities"], reply.body["sha256"]) == (direct["probabilities"], direct["sha256"])
        assert client.predict("audio", b"text, and no sound").error_code == "unknown_container"
        client.close()


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_who_sends_too_much_is_told_when_to_come_back_and_nobody_else_is(nginx, kind):
    name = "limited" if kind == "http" else "limited-grpc"
    client = getattr(nginx, kind)(name, retry=ONCE)

    def call(_: int) -> float | None:
        try:
            assert client.predict("audio", b"text").error_code == "unknown_container"
        except RateLimited as error:
            return error.retry_after_s
        return None

    with ThreadPoolExecutor(8) as callers:
        waits = list(callers.map(call, range(8)))
    assert set(waits) == {None, RETRY_AFTER_S}, waits
    if kind == "http":
        assert nginx.http("neighbour", retry=ONCE).predict("audio", b"text").error_code == "unknown_container"


def test_a_refusal_for_the_rate_is_in_our_own_form(nginx):
    url, headers = f"{nginx.address}/predictions/audio", nginx.keys["odd"].headers("inference")
    with ThreadPoolExecutor(8) as callers:
        responses = list(callers.map(lambda _: requests.post(url, b"text", headers=headers, timeout=60), range(8)))
    limited = [response for response in responses if response.status_code == 429]
    assert limited
    for response in limited:
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Retry-After"] == str(RETRY_AFTER_S)
        error = response.json()["error"]
        assert (error["code"], error["status"], error["retry_after_s"]) == ("rate_limited", 429, RETRY_AFTER_S)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_the_client_library_comes_back_when_it_was_told_to(nginx, kind):
    name = "patient" if kind == "http" else "patient-grpc"
    client = getattr(nginx, kind)(name)
    with ThreadPoolExecutor(4) as callers:
        replies = list(callers.map(lambda _: client.predict("audio", b"text"), range(4)))
    assert {reply.error_code for reply in replies} == {"unknown_container"}
    if kind == "http":
        assert 429 in nginx.statuses(name)
        assert nginx.statuses(name)[-1] == 415
    client.close()


def test_a_large_body_is_refused_in_our_own_form(nginx):
    reply = nginx.http("large").predict("audio", bytes(MAX_BODY_BYTES + 1))
    assert (reply.status, reply.error_code) == (413, "too_large")
    client = nginx.grpc("large")
    with pytest.raises(RequestFailed, match=r"RESOURCE_EXHAUSTED.*more than"):
        client.predict("audio", bytes(MAX_BODY_BYTES + 1))
    client.close()


@pytest.mark.parametrize(
    "path", ["/models", "/models/audio", "/token", "/metrics", "/predictions/../models/audio", "/"]
)
def test_only_the_inference_api_is_there(nginx, path):
    request = requests.Request("GET", nginx.address, headers=nginx.keys["odd"].headers("inference")).prepare()
    request.url = nginx.address + path  # as it stands, with its dots
    response = requests.Session().send(request, timeout=30)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_who_has_no_key_of_the_proxy_is_not_let_in(nginx, server, sound):
    for keys in (server.keys, FixedKeys("AAAAAAAA")):  # TorchServe's own key opens nothing here
        client = HttpClient(nginx.address, keys=keys)
        with pytest.raises(ClientUnknown, match="a key of this proxy"):
            client.predict("audio", sound)
        client = GrpcClient(nginx.settings.grpc_listen, keys=keys)
        with pytest.raises(ClientUnknown, match="a key of this proxy"):
            client.predict("audio", sound)
        client.close()


def test_requests_keep_their_id_and_get_one(nginx):
    url = f"{nginx.address}/predictions/audio"
    headers = nginx.keys["neighbour"].headers("inference")
    for sent, wanted in (("job-7", r"job-7"), ("a b;\t<c>", r"[0-9a-f]{32}")):
        response = requests.post(url, b"text", headers={**headers, "X-Request-Id": sent}, timeout=60)
        assert re.fullmatch(wanted, response.headers["X-Request-Id"])
        assert response.headers["X-Request-Id"] in (nginx.directory / "access.log").read_text()


def test_load_balancers_may_ask_for_health(nginx):
    assert requests.get(f"{nginx.address}/ping", timeout=30).json() == {"status": "Healthy"}


def get(nginx: Nginx, path: str, *, key: bool = True) -> requests.Response:
    headers = nginx.keys["kserve"].headers("inference") if key else {}
    return requests.get(nginx.address + path, headers=headers, timeout=60)


def test_health_and_metadata_in_the_forms_of_kserve(nginx):
    assert get(nginx, "/v2/health/live", key=False).json() == {"live": True}
    assert get(nginx, "/v2/health/ready", key=False).json() == {"ready": True}
    assert get(nginx, "/v2", key=False).json()["extensions"] == ["binary_tensor_data"]
    metadata = get(nginx, "/v2/models/audio").json()
    assert (metadata["name"], metadata["versions"], metadata["inputs"][0]["datatype"]) == ("audio", ["1.0"], "BYTES")
    assert get(nginx, "/v2/models/audio/versions/1.0").json() == metadata
    for path in ("/v2/models/audio/ready", "/v2/models/audio/versions/1.0/ready", "/v1/models/audio"):
        assert get(nginx, path).json() == {"name": "audio", "ready": True}
        assert get(nginx, path, key=False).status_code == 401
    assert get(nginx, "/v2/models/nobody/ready").status_code == 404


def test_errors_by_v2_paths_are_strings(nginx):
    assert get(nginx, "/v2/models/audio", key=False).json()["error"].startswith("unauthorized: ")
    assert get(nginx, "/v2/repository/index").json()["error"].startswith("not_found: ")


def test_a_version_may_stand_in_a_v2_path(nginx, sound):
    body = {"inputs": [{"name": "data", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(sound).decode()]}]}
    url, headers = f"{nginx.address}/v2/models/audio/versions/1.0/infer", nginx.keys["kserve"].headers("inference")
    assert requests.post(url, json=body, headers=headers, timeout=60).json()["model_version"] == "1.0"


def test_a_body_that_curl_calls_a_web_form_is_taken_as_the_file(nginx, http, sound):
    headers = {"Content-Type": "application/x-www-form-urlencoded", **nginx.keys["form"].headers("inference")}
    answer = requests.post(f"{nginx.address}/predictions/audio", sound, headers=headers, timeout=60).json()
    assert answer["probabilities"] == http.predict("audio", sound).body["probabilities"]


def test_head_is_refused_and_the_connection_lives_on(nginx):
    with requests.Session() as session:
        session.headers.update(nginx.keys["head"].headers("inference"))
        refused = session.head(f"{nginx.address}/predictions/audio", timeout=30)
        assert (refused.status_code, refused.headers["Allow"], refused.content) == (405, "POST, PUT", b"")
        assert session.get(f"{nginx.address}/v2/health/live", timeout=30).json() == {"live": True}


def test_pipelined_requests_are_answered_in_order(nginx, clip, sound):
    """TorchServe itself would answer the quick one first."""
    host, port = nginx.settings.http_listen.split(":")
    key = nginx.keys["pipeline"].headers("inference")["Authorization"]

    def post(model: str, name: str, body: bytes) -> bytes:
        head = f"POST /predictions/{model} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\n"
        head += f'Content-Disposition: attachment; filename="{name}"\r\nContent-Length: {len(body)}\r\n\r\n'
        return head.encode() + body

    slow = post("ensemble", "first", clip(seed=11, duration_s=4.0))
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            slow + post("audio", "second", sound).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        )
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert re.findall(rb'"file_name": "(\w+)"', received) == [b"first", b"second"]


def test_a_new_key_of_torchserve_is_taken_up(nginx, server, sound):
    environment = os.environ | {
        "DEEPDETECT_KEY_FILE": str(server.keys.path),
        "DEEPDETECT_MANAGEMENT_ADDRESS": server.management,
    }
    command = [sys.executable, "-m", "operations.proxy", "follow", str(nginx.directory)]
    follower = subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        before = (nginx.directory / proxy.UPSTREAM_KEY).read_text()
        api_key = re.search(r'"API":\s*{\s*"key": "([^"]+)"', server.keys.path.read_text())[1]
        headers = {"Authorization": f"Bearer {api_key}"}
        assert requests.get(f"{server.management}/token?type=inference", headers=headers, timeout=30).ok
        assert follower.stdout.readline() == "TorchServe has another key; nginx reloads\n"
        assert (nginx.directory / proxy.UPSTREAM_KEY).read_text() != before
        assert nginx.http("neighbour").predict("audio", sound).status == 200
    finally:
        follower.terminate()
        follower.wait(30)


def test_behind_tls(server, certificate, sound, tmp_path):
    paths = dict(zip(("certificate", "certificate_key"), map(str, certificate), strict=True))
    nginx = Nginx(tmp_path, server, **paths)
    try:
        for client in (
            nginx.http("passing", verify=str(certificate[0])),
            nginx.grpc("odd", verify=str(certificate[0])),
        ):
            assert client.predict("audio", sound).status == 200
            client.close()
    finally:
        nginx.stop()


def test_a_server_that_is_down_is_said_to_be_down(server, sound, tmp_path):
    nginx = Nginx(tmp_path, server, inference=NOBODY, grpc_inference=NOBODY)
    try:
        headers = nginx.keys["odd"].headers("inference")
        response = requests.post(f"{nginx.address}/predictions/audio", sound, headers=headers, timeout=30)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
        assert response.headers["Retry-After"] == "5"
        for client in (nginx.http("large", retry=ONCE), nginx.grpc("large", retry=ONCE)):
            with pytest.raises(ServerUnavailable, match="TorchServe does not answer"):
                client.predict("audio", sound)
            client.close()
    finally:
        nginx.stop()


def _wait_until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "nginx did not start"
        time.sleep(0.05)
