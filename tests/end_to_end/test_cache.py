"""The cache between workers that die, a Redis that dies, and a worker whose threads hang, in a real TorchServe."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml

from archives.build import build_archive
from client.inference import HttpClient
from model_defs.caching.settings import URL_VARIABLE
from operations.server import PROJECT_DIR, TorchServe
from tests.redis_server import RedisServer

HANDLERS = {"audio": "handlers.audio_handler:AudioHandler", "video": "handlers.video_handler:VideoHandler"}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cache_server(artifacts_dir, redis_server, tmp_path_factory) -> Iterator[TorchServe]:
    """A server with three models of ours, each with a configuration of its own."""
    directory = tmp_path_factory.mktemp("cache-server")
    store = directory / "store"

    def build(name: str, modality: str, workers: int, **handler: Any) -> None:
        record = yaml.safe_load((PROJECT_DIR / "config" / f"{modality}.yaml").read_text())
        record |= {"minWorkers": workers, "maxWorkers": workers, "handler": {**record["handler"], **handler}}
        config = directory / f"{name}.yaml"
        config.write_text(yaml.safe_dump(record))
        declaration = {"handler": HANDLERS[modality], "artifacts": [modality], "config": config}
        build_archive(name, declaration, "1.0", store, artifacts_dir)

    build("embedded", "audio", 2, cache={"store": "embedded", "path": str(directory / "cache")})
    build("redis", "audio", 1, cache={"store": "redis", "retry_s": 0.2})
    # No file is decoded in a millisecond: each leaves a thread behind, for a while.
    hasty = {"limits": {"decode_budget_s": 0.001}, "decode_grace_s": 0.0, "max_stuck_threads": 1}
    build("hasty", "video", 1, cache={"max_items": 0}, **hasty)
    server = TorchServe.private(directory / "server", store, ["embedded", "redis", "hasty"])
    server.environment = {**server.environment, URL_VARIABLE: redis_server.url}
    # "hasty" never judges anything, so that it is ready when its worker is.
    with server.running(["embedded", "redis"]):
        yield server


@pytest.fixture(scope="module")
def client(cache_server) -> HttpClient:
    return cache_server.http_client()


def workers(server: TorchServe, model: str) -> list[psutil.Process]:
    """The processes that serve a model."""
    return [psutil.Process(int(worker["pid"])) for worker in server.describe(model)["workers"]]


def kill_workers(server: TorchServe, model: str) -> None:
    """Kills all workers of a model, with what they remember, and waits until others have taken their places."""
    gone = workers(server, model)
    for process in gone:
        process.kill()
    wait_for_others(server, model, gone)


def wait_for_others(server: TorchServe, model: str, gone: list[psutil.Process]) -> None:
    psutil.wait_procs(gone, timeout=60)
    # A management call right after would still be told that they are READY.
    wait_for(lambda: server.ready(model) and not set(gone) & set(workers(server, model)))


def wait_for(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, "it did not come to pass"
        time.sleep(0.2)


def test_what_one_worker_computed_all_of_them_know_and_it_outlives_them(cache_server, client, sound):
    first = client.predict("embedded", sound).body
    assert first["cache"] == "miss"
    # Workers take turns; each has a memory of its own, so that those that have not seen the file ask the store.
    assert {client.predict("embedded", sound).body["cache"] for _ in range(8)} == {"hit"}
    kill_workers(cache_server, "embedded")
    again = client.predict("embedded", sound).body
    assert again["cache"] == "hit"
    assert again["probabilities"] == first["probabilities"]
    options = {"threshold": 0.25}
    assert client.predict("embedded", sound, options=options).body["cache"] == "samples"  # of a worker that is dead


def test_identical_requests_at_once_are_computed_once_by_all_workers(client, clip):
    data = clip("wav", video_codec=None, audio_codec="pcm_s16le", duration_s=20.0, seed=3)
    with ThreadPoolExecutor(8) as callers:
        replies = list(callers.map(lambda _: client.predict("embedded", data), range(8)))
    assert sorted(reply.body["cache"] for reply in replies) == ["hit"] * 7 + ["miss"]


def test_a_server_that_is_started_again_still_knows(cache_server, client, sound):
    known = client.predict("embedded", sound).body
    process = cache_server.process
    for each in [*process.children(recursive=True), process]:  # as when the machine's supervisor loses patience
        each.kill()
    psutil.wait_procs([process], timeout=60)
    cache_server.start()
    cache_server.wait_until_ready(["embedded", "redis"])
    again = client.predict("embedded", sound).body
    assert again["cache"] == "hit"
    assert again["probabilities"] == known["probabilities"]


def test_redis_may_die_in_the_middle_of_traffic_and_come_back(cache_server, client, redis_server, sound):
    def send(index: int) -> Mapping[str, Any]:
        reply = client.predict("redis", sound + index.to_bytes(4, "big"))
        assert reply.status == 200, reply
        return reply.body

    def n_logged(text: str) -> int:
        return log(cache_server).count(text)

    send(1_000)  # it is not there yet
    redis_server.start()
    wait_for(lambda: n_logged("the redis store is back") == 1)
    with ThreadPoolExecutor(4) as callers:
        before = list(callers.map(send, range(20)))
        during = [callers.submit(send, 100 + index) for index in range(40)]
        redis_server.kill()
        during = [call.result() for call in during]
        without = list(callers.map(send, range(200, 220)))
        redis_server.start()
        wait_for(lambda: n_logged("the redis store is back") == 2)
        after = list(callers.map(send, range(300, 320)))
    assert {answer["cache"] for answer in before + during + without + after} == {"miss"}
    assert len({answer["probabilities"]["fake"] for answer in before + during + without + after}) == 1
    assert n_logged("going on without the redis store") == 2
    kill_workers(cache_server, "redis")
    assert send(319)["cache"] == "hit"
    assert send(0)["cache"] == "miss"  # it died with Redis


def test_a_metric_says_when_redis_is_gone_and_when_it_is_back(cache_server, client, redis_server, sound):
    def metric(name: str) -> float:
        text = requests.get(f"{cache_server.properties['metrics_address']}/metrics", timeout=30).text
        found = re.findall(rf'^{name}\{{model_name="redis",[^}}]*\}} (\S+)$', text, flags=re.MULTILINE)
        return max(map(float, found))

    wait_for(lambda: metric("deepdetect_cache_store_up") == 1)
    errors = metric("deepdetect_cache_store_errors_total")
    redis_server.kill()
    assert client.predict("redis", sound + b"gone").status == 200
    wait_for(lambda: metric("deepdetect_cache_store_up") == 0)
    wait_for(lambda: metric("deepdetect_cache_store_errors_total") > errors)
    redis_server.start()
    wait_for(lambda: metric("deepdetect_cache_store_up") == 1)


def test_a_worker_whose_threads_hang_answers_and_is_replaced(cache_server, client, clip):
    wait_for(lambda: cache_server.ready("hasty"))
    before = workers(cache_server, "hasty")
    data = clip("mp4", duration_s=3.0, width=1280, height=720)
    for _ in range(20):  # a file that ends by itself just in time hangs nothing
        assert client.predict("hasty", data).error_code == "decode_timeout"
        if "threads hang; this worker ends itself" in log(cache_server):
            break
    wait_for_others(cache_server, "hasty", before)
    assert client.predict("hasty", b"no media").error_code == "unknown_container"


def log(server: TorchServe) -> str:
    """What the workers have logged."""
    return (Path(server.environment["LOG_LOCATION"]) / "model_log.log").read_text(errors="replace")
