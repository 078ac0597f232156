"""The probes of a real server whose workers are killed, and that drains."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from operations.probes import ServerWatch, serve_probes
from operations.server import TorchServe
from operations.settings import free_ports

READY_LIMIT_S = 120.0


@pytest.fixture(scope="module")
def own(model_store, tmp_path_factory) -> Iterator[TorchServe]:
    """A server whose workers may be killed."""
    server = TorchServe.private(tmp_path_factory.mktemp("probed"), model_store, ["audio", "ensemble"])
    with server.running(drain_timeout_s=0):
        yield server


@pytest.fixture(scope="module")
def address(own, clip) -> Iterator[str]:
    """Where the probes answer; the audio model is to have two workers."""
    watch = ServerWatch(own, clip(), {"audio": 2})
    address = f"127.0.0.1:{free_ports(1)[0]}"
    listening = serve_probes(watch, address)
    watch.start()
    yield f"http://{address}"
    listening.shutdown()


def test_it_is_ready_when_each_model_has_its_workers_and_has_judged(own, address):
    wait_for(f"{address}/ready", 200)
    assert requests.get(f"{address}/live", timeout=10).status_code == 200
    assert own.management_api.default("audio").n_ready == 2
    deadline = time.monotonic() + 30
    while _judged(own) != set(own.models):  # lines of the log take a moment
        assert time.monotonic() < deadline, _judged(own)
        time.sleep(0.2)


def _judged(server: TorchServe) -> set[str]:
    """Models that the request log has a verdict of."""
    lines = (server.log_dir / "request_log.jsonl").read_text().splitlines()
    return {model for model in server.models if any(f'"{model}"' in line and '"p_fake"' in line for line in lines)}


def test_without_workers_it_lives_and_is_not_ready_until_they_have_judged_again(own, address):
    wait_for(f"{address}/ready", 200)
    killed = [worker.pid for model in own.models for worker in own.management_api.default(model).workers]
    assert len(killed) == 3
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert wait_for(f"{address}/ready", 503, limit_s=15.0, live=f"{address}/live")["why"]
    wait_for(f"{address}/ready", 200, live=f"{address}/live")
    for model in own.models:
        assert not {worker.pid for worker in own.management_api.default(model).workers} & set(killed)


def test_while_it_drains_it_lives_and_is_not_ready(own, address):
    wait_for(f"{address}/ready", 200)
    mark = Path(own.environment["TEMP"], "deepdetect.draining")
    mark.touch()
    try:
        assert wait_for(f"{address}/ready", 503, live=f"{address}/live")["why"] == "the server drains"
    finally:
        mark.unlink()
    wait_for(f"{address}/ready", 200)


def wait_for(url: str, status: int, limit_s: float = READY_LIMIT_S, live: str = "") -> dict:
    """The probe's answer once it has that status; all the while the other probe must say 200."""
    deadline = time.monotonic() + limit_s
    while (response := requests.get(url, timeout=10)).status_code != status:
        assert time.monotonic() < deadline, f"{url}: {response.status_code} {response.text}"
        assert not live or requests.get(live, timeout=10).status_code == 200
        time.sleep(0.1)
    return response.json()
