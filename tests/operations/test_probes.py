"""What the probes say of servers that are not there; tests/end_to_end/test_probes.py has a real one."""

from __future__ import annotations

import pytest
import requests

from operations import probes
from operations.probes import Health, ServerWatch, serve_probes
from operations.server import TorchServe
from operations.settings import free_ports


@pytest.fixture
def server(tmp_path):
    server = TorchServe.private(tmp_path / "run", tmp_path, ["audio"])
    yield server
    server.stop()


def test_what_nobody_has_looked_at_for_a_while_is_not_well(monkeypatch):
    health = Health("")
    assert health.now == ""
    monkeypatch.setattr(probes, "STALE_S", -1.0)
    assert "nothing is known" in health.now


def test_a_server_that_is_down_is_neither_live_nor_ready(server):
    watch = ServerWatch(server, b"")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    listening = serve_probes(watch, address)
    try:
        assert "nobody has looked" in requests.get(f"http://{address}/live", timeout=10).json()["why"]
        watch.look_whether_live()
        watch.look_whether_ready()
        for path in ("live", "ready"):
            response = requests.get(f"http://{address}/{path}", timeout=10)
            assert (response.status_code, response.json()["status"]) == (503, "not well")
        assert requests.get(f"http://{address}/", timeout=10).status_code == 404
    finally:
        listening.shutdown()
        listening.server_close()


def test_workers_for_a_model_that_is_not_served_are_refused(server):
    with pytest.raises(ValueError, match="workers for vidoe; models: audio"):
        ServerWatch(server, b"", {"vidoe": 2})


@pytest.mark.parametrize("address", ["", "localhost", "0.0.0.0:http"])
def test_an_address_that_is_none_is_named(server, address):
    with pytest.raises(ValueError, match="a host, a colon and a port"):
        serve_probes(ServerWatch(server, b""), address)
