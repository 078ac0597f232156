"""Keys are read, renewed in time and by one client only, and noticed when somebody else renews them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from client.errors import KeyRefused
from client.keys import FixedKeys, Keys, find_keys, main
from tests.http_server import Handler, Server

SCOPES = ("inference", "management")
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens


class TokenServer:
    """Renews keys as TorchServe's frontend does: the file is emptied, then written in place."""

    def __init__(self, path: Path, life_s: float) -> None:
        self.path = path
        self.life_s = life_s
        self.n_renewals = 0
        self.keys = {scope: f"{scope}-0" for scope in SCOPES}
        self.expires = {scope: self._expiry() for scope in SCOPES}
        self.write()
        server = self

        class Renewing(Handler):
            def do_GET(self):
                (scope,) = parse_qs(urlsplit(self.path).query)["type"]
                allowed = self.headers["Authorization"] == "Bearer api"
                if allowed:
                    server.renew(scope)
                self.reply(200 if allowed else 400)

        self.http = Server(Renewing)
        self.address = self.http.address
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def renew(self, scope: str) -> None:
        self.n_renewals += 1
        self.keys[scope] = f"{scope}-{self.n_renewals}"
        self.expires[scope] = self._expiry()
        self.write()

    def write(self) -> None:
        record = {scope: {"key": self.keys[scope], "expiration time": self.expires[scope]} for scope in SCOPES}
        self.path.write_text("")
        time.sleep(0.03)
        self.path.write_text(json.dumps({**record, "API": {"key": "api"}}, indent=2))

    def _expiry(self, left_s: float | None = None) -> str:
        left_s = self.life_s if left_s is None else left_s
        return (datetime.now(UTC) + timedelta(seconds=left_s)).strftime("%Y-%m-%dT%H:%M:%S.%f123Z")


@pytest.fixture
def token_server(tmp_path) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path / "key_file.json", life_s=3600)
    yield server
    server.http.shutdown()
    server.http.server_close()


def expire(server: TokenServer, left_s: float) -> None:
    """The server's keys were made long ago and have `left_s` left."""
    server.life_s = left_s
    server.expires = {scope: server._expiry() for scope in SCOPES}
    server.write()
    server.life_s = 3600


def test_a_fresh_key_is_read_and_not_renewed(token_server):
    keys = Keys(token_server.path, token_server.address)
    assert keys.bearer("inference") == "inference-0"
    assert keys.headers("management") == {"Authorization": "Bearer management-0"}
    assert token_server.n_renewals == 0


def test_a_key_near_its_end_is_renewed_once_by_all_clients_and_threads_together(token_server):
    clients = [Keys(token_server.path, token_server.address, margin_s=300) for _ in range(4)]
    assert {each.bearer("inference") for each in clients} == {"inference-0"}
    expire(token_server, -1)
    with ThreadPoolExecutor(16) as threads:
        got = set(threads.map(lambda index: clients[index % 4].bearer("inference"), range(64)))
    assert got == {"inference-1"}
    assert token_server.n_renewals == 1


def test_short_lived_keys_are_not_renewed_all_the_time(tmp_path):
    server = TokenServer(tmp_path / "key_file.json", life_s=60)
    keys = Keys(server.path, server.address, margin_s=300)
    assert [keys.bearer("inference") for _ in range(3)] == ["inference-0"] * 3
    assert server.n_renewals == 0
    server.http.shutdown()
    server.http.server_close()


def test_a_key_that_somebody_else_renewed_is_noticed(token_server, monkeypatch):
    monkeypatch.setattr("client.keys.ROTATION_S", 0.1)
    keys = Keys(token_server.path, token_server.address)
    old = keys.headers("inference")
    token_server.renew("inference")
    assert keys.bearer("inference") == "inference-1"
    assert keys.rotated(old, "inference")
    assert not keys.rotated(keys.headers("inference"), "inference")


def test_a_refused_key_may_be_replaced_a_moment_later(token_server):
    keys = Keys(token_server.path, token_server.address)
    old = keys.headers("inference")
    later = threading.Timer(0.2, token_server.renew, ["inference"])
    later.start()
    assert keys.rotated(old, "inference")
    later.join()


def test_without_the_management_api_a_key_serves_to_its_end(token_server, caplog):
    expire(token_server, 5)  # of an hour, for the other key is fresh
    token_server.life_s = 3600
    token_server.renew("management")
    keys = Keys(token_server.path, NOBODY)
    assert [keys.bearer("inference") for _ in range(3)] == ["inference-0"] * 3
    assert len(caplog.records) == 1, "a failing renewal is not tried for each request"


def test_nobody_waits_for_a_renewal_while_the_key_is_good(token_server, monkeypatch):
    keys = Keys(token_server.path, token_server.address, margin_s=7200)  # at a life of an hour: a fifth of it
    token_server.expires["inference"] = token_server._expiry(left_s=60)
    token_server.expires["management"] = token_server._expiry(left_s=3600)
    token_server.write()
    under_way, may_end = threading.Event(), threading.Event()

    def slow(*_, **__):
        under_way.set()
        assert may_end.wait(30)
        raise requests.ConnectionError("too late")

    monkeypatch.setattr(requests, "get", slow)
    with ThreadPoolExecutor(1) as threads:
        renewing = threads.submit(keys.bearer, "inference")
        assert under_way.wait(30)
        assert keys.bearer("inference") == "inference-0"
        may_end.set()
        assert renewing.result() == "inference-0"


def test_an_expired_key_that_cannot_be_renewed_says_so(token_server):
    expire(token_server, -1)
    with pytest.raises(KeyRefused, match="expired and cannot be renewed"):
        Keys(token_server.path, NOBODY).bearer("inference")


def test_a_missing_file_means_no_header_and_no_key(tmp_path):
    keys = Keys(tmp_path / "key_file.json", NOBODY)
    assert keys.headers("inference") == {}
    with pytest.raises(KeyRefused, match=r"no key file .*key_file\.json"):
        keys.bearer("inference")


def test_a_server_that_stops_takes_its_file_away_before_its_leave(token_server):
    keys = Keys(token_server.path, token_server.address)
    assert keys.bearer("inference") == "inference-0"
    token_server.path.unlink()
    assert keys.headers("inference") == {"Authorization": "Bearer inference-0"}
    token_server.renew("inference")  # the next server's file
    assert keys.bearer("inference") == "inference-1"


def test_a_file_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("client.keys.WRITING_S", 0.1)
    path = tmp_path / "key_file.json"
    path.write_text('{"inference": {}}')
    with pytest.raises(KeyRefused, match="not a key file"):
        Keys(path, NOBODY).bearer("inference")


def test_the_environment_says_where_keys_are(token_server, monkeypatch, capsys):
    monkeypatch.setenv("DEEPDETECT_KEY_FILE", str(token_server.path))
    monkeypatch.setenv("DEEPDETECT_MANAGEMENT_ADDRESS", token_server.address)
    assert (main([]), main(["management", "--bare"])) == (0, 0)
    assert capsys.readouterr().out == "Authorization: Bearer inference-0\nmanagement-0\n"
    monkeypatch.setenv("DEEPDETECT_INFERENCE_KEY", "of the proxy")
    assert find_keys() == FixedKeys("of the proxy")
    assert find_keys().headers("management") == {}


def test_the_command_says_why_there_is_no_key(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEEPDETECT_KEY_FILE", str(tmp_path / "key_file.json"))
    assert main([]) == 1
    assert "no key file" in capsys.readouterr().err
