"""Keys that expire every few seconds, over TLS: one server that has both, with the audio model alone."""

from __future__ import annotations

import re
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from client.errors import KeyRefused, RequestFailed, ServerUnavailable
from client.inference import GrpcClient, HttpClient
from client.keys import FixedKeys, Keys, NoKeys
from client.retry import ONCE, Retry
from operations.server import PROJECT_DIR, TorchServe, read_properties

KEY_LIFE_S = 3
N_LIVES = 3


@pytest.fixture(scope="module")
def secured(model_store, certificate, tmp_path_factory) -> Iterator[TorchServe]:
    block = read_properties(PROJECT_DIR / "config" / "deploy" / "tls.properties")
    settings = {key: value for key, value in block.items() if not key.endswith("_address")}
    settings |= dict(zip(("certificate_file", "private_key_file"), certificate, strict=True))
    settings |= {"token_expiration_min": KEY_LIFE_S / 60}
    server = TorchServe.private(tmp_path_factory.mktemp("secured"), model_store, ["audio"], settings=settings)
    with server.running():  # to be ready takes longer than the first keys live
        yield server


@pytest.fixture(params=["http", "grpc"])
def client(request, secured) -> Iterator[HttpClient | GrpcClient]:
    """One client over https, one over gRPC with TLS, each with its own view of the keys."""
    keys = Keys(secured.keys.path, secured.management, verify=secured.verify)
    client = getattr(secured, f"{request.param}_client")(keys=keys)
    yield client
    client.close()


def test_a_client_outlives_its_keys(secured, sound):
    """Clients of several kinds, each with its own view of the key file, at work while keys are renewed many times."""
    sources = [Keys(secured.keys.path, secured.management, verify=secured.verify) for _ in range(4)]
    make = [secured.http_client, secured.grpc_client]
    clients = [make[index % 2](keys=keys) for index, keys in enumerate(sources)]
    first, n_before = secured.keys.bearer("inference"), _n_renewals(secured)
    seen: set[str] = set()
    end = time.monotonic() + N_LIVES * KEY_LIFE_S
    n_answers = 0
    with ThreadPoolExecutor(len(clients)) as callers:
        while time.monotonic() < end:
            replies = list(callers.map(lambda each: each.predict("audio", sound), clients))
            assert {reply.status for reply in replies} == {200}
            n_answers += len(replies)
            seen |= {keys.bearer("inference") for keys in sources}
    assert secured.describe("audio")["modelName"] == "audio"
    assert len(seen - {first}) >= N_LIVES - 1, "the keys were not renewed"
    # One client renews for all of them. (A renewal of the management key may be among these.)
    assert _n_renewals(secured) - n_before <= 2 * len(seen) + 2
    for each in clients:
        each.close()


def test_a_key_that_is_taken_away_under_requests_costs_none(secured, client, sound):
    rotating = threading.Event()

    def rotate() -> None:
        while not rotating.wait(0.3):
            _renew(secured)

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        replies = [client.predict("audio", sound) for _ in range(15)]
    finally:
        rotating.set()
        thread.join()
    assert {reply.status for reply in replies} == {200}


@pytest.mark.parametrize("keys", [NoKeys(), FixedKeys("AAAAAAAA", "AAAAAAAA")], ids=["no key", "wrong key"])
def test_without_the_right_key_nothing_is_answered(secured, sound, keys):
    for client in (secured.http_client(keys=keys), secured.grpc_client(keys=keys)):
        with pytest.raises(KeyRefused, match="Token Authorization failed"):
            client.predict("audio", sound)
        client.close()
    for address, path in (
        (secured.inference, "/ping"),
        (secured.management, "/models"),
        (secured.management, "/token"),
    ):
        response = requests.get(
            address + path,
            params={"type": "inference"},
            headers=keys.headers("management"),
            verify=secured.verify,
            timeout=30,
        )
        assert (response.status_code, response.json()["type"]) == (400, "InvalidKeyException")


def test_a_key_opens_its_own_api_only(secured):
    key = secured.keys.headers("inference")
    response = requests.get(f"{secured.management}/models", headers=key, verify=secured.verify, timeout=30)
    assert response.status_code == 400
    response = requests.get(f"{secured.inference}/ping", headers=key, verify=secured.verify, timeout=30)
    assert response.json() == {"status": "Healthy"}


def test_the_key_file_is_for_its_owner_alone(secured):
    assert stat.S_IMODE(secured.keys.path.stat().st_mode) == 0o600


def test_metrics_want_no_key(secured):
    address = secured.properties["metrics_address"]
    assert requests.get(f"{address}/metrics", verify=secured.verify, timeout=30).status_code == 200


def test_a_certificate_that_is_not_trusted_is_not_talked_to(secured, sound):
    with pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"):
        secured.http_client(verify=True).predict("audio", sound)
    client = secured.grpc_client(verify=True, retry=ONCE)
    with pytest.raises(ServerUnavailable, match="(?i)certificate"):
        client.predict("audio", sound)
    client.close()


def test_plain_requests_get_no_answer(secured, sound):
    address = secured.inference.replace("https://", "http://")
    with pytest.raises((ServerUnavailable, RequestFailed)):
        HttpClient(address, keys=secured.keys, retry=ONCE).predict("audio", sound)


@pytest.mark.timeout(300)
def test_clients_outlive_a_restart_of_the_server(secured, sound):
    """Other keys, other workers, and for a while nobody there: requests wait, and none fails."""
    patience = Retry(attempts=1_000, max_delay_s=0.5, max_wait_s=200)
    clients = [secured.http_client(retry=patience), secured.grpc_client(retry=patience)]
    running, started = threading.Event(), threading.Barrier(3)
    running.set()

    def call(client: HttpClient | GrpcClient) -> list[int]:
        statuses = [client.predict("audio", sound).status]
        started.wait(60)
        while running.is_set():
            statuses.append(client.predict("audio", sound).status)
        return [*statuses, client.predict("audio", sound).status]

    with ThreadPoolExecutor(2) as callers:
        calls = [callers.submit(call, client) for client in clients]
        try:
            started.wait(60)
            secured.stop()
            secured.start()
            secured.wait_until_ready()
        finally:
            running.clear()
        statuses = [call.result() for call in calls]
    assert [set(each) for each in statuses] == [{200}, {200}]
    for client in clients:
        client.close()


def _renew(server: TorchServe) -> None:
    api_key = re.search(r'"API":\s*{\s*"key": "([^"]+)"', Path(server.keys.path).read_text())
    if api_key:  # else the file is being written
        headers = {"Authorization": f"Bearer {api_key[1]}"}
        address = f"{server.management}/token?type=inference"
        assert requests.get(address, headers=headers, verify=server.verify, timeout=30).ok


def _n_renewals(server: TorchServe) -> int:
    log = Path(server.environment["LOG_LOCATION"], "access_log.log").read_text(errors="replace")
    return len(re.findall(r'"GET /token\?type=inference HTTP/1.1" 200', log))
