"""The cache over a real Redis server: shared, and done without when it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from model_defs.caching.detection_cache import DetectionCache
from model_defs.caching.redis_store import RedisStore
from model_defs.caching.settings import CacheSettings
from model_defs.caching.store import StoreError
from model_defs.inference.audio_predictor import AudioPredictor
from model_defs.inference.engine import Engine, Item
from tests.redis_server import RedisServer


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def machine(server: RedisServer) -> DetectionCache:
    """What a worker on some machine has."""
    return DetectionCache(CacheSettings(store="redis", url=server.url, timeout_s=0.5, retry_s=0.05))


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not come to pass in 10 s")


def test_entries_have_a_time_to_live_and_leases_one_holder(server):
    store = RedisStore(server.url, timeout_s=1.0, ttl_s=100.0)
    store.put("key", b"\x00value")
    assert store.get("key") == b"\x00value"
    assert store.get("other") is None
    client = redis.Redis.from_url(server.url)
    assert 0 < client.pttl("deepdetect:key") <= 100_000
    assert store.acquire("key", "one", 0.2)
    assert not store.acquire("key", "other", 60)
    store.release("key", "other")
    assert not store.acquire("key", "other", 60)
    time.sleep(0.3)
    assert store.acquire("key", "other", 60)
    store.release("key", "other")
    assert store.acquire("key", "one", 60)
    store.close()


def test_a_server_that_is_full_or_wants_a_password_is_an_error_of_the_store(server):
    client = redis.Redis.from_url(server.url)
    client.config_set("maxmemory", "1mb")
    store = RedisStore(server.url, timeout_s=1.0, ttl_s=100.0)
    with pytest.raises(StoreError, match="OOM|OutOfMemory"):
        store.put("key", bytes(2**21))
    client.config_set("requirepass", "secret")
    with pytest.raises(StoreError, match="Authentication"):
        RedisStore(server.url, timeout_s=1.0, ttl_s=100.0).get("key")


def test_machines_share_answers_and_samples(server, artifacts_dir, sample_clip):
    predictors = {"audio": AudioPredictor(artifacts_dir / "audio")}
    clip = sample_clip.read_bytes()

    def judge(version: str) -> str:
        engine = Engine(predictors, name="audio", version=version, cache=machine(server))
        return engine.detect_batch([Item(clip)])[0]["cache"]

    assert [judge(version) for version in ("1", "1", "2", "2")] == ["miss", "hit", "samples", "hit"]


def test_a_damaged_value_is_no_value(server):
    one, other = machine(server), machine(server)
    one.put_answer("key", {"prediction": "Real"})
    client = redis.Redis.from_url(server.url)
    client.setrange("deepdetect:key", 20, b"F")
    assert other.get_answer("key") is None
    assert other.stats()["store_damaged"] == 1
    assert other.stats()["store_up"]


def test_serving_goes_on_without_it_and_finds_it_again(server, artifacts_dir, sample_clip):
    """Killed in the middle of traffic, and started again: no request fails, and the statistics say what happened."""
    cache = machine(server)
    engine = Engine({"audio": AudioPredictor(artifacts_dir / "audio")}, name="audio", cache=cache)
    clip, n_sent = sample_clip.read_bytes(), 0

    def send() -> str:
        nonlocal n_sent
        n_sent += 1
        return engine.detect_batch([Item(clip + n_sent.to_bytes(4, "big"))])[0]["cache"]

    assert [send() for _ in range(3)] == ["miss"] * 3
    assert cache.stats()["store_up"]
    server.kill()
    assert [send() for _ in range(5)] == ["miss"] * 5
    stats = cache.stats()
    assert (stats["store"], stats["store_up"], stats["store_errors"]) == ("redis", False, 1)  # one paid, the rest not
    assert engine.detect_batch([Item(clip + n_sent.to_bytes(4, "big"))])[0]["cache"] == "hit"  # out of memory's tier
    server.start()
    wait_for(lambda: cache.stats()["store_up"])
    assert [send() for _ in range(3)] == ["miss"] * 3
    assert cache.stats()["store_errors"] == 1
    cache.results.clear()
    assert engine.detect_batch([Item(clip + n_sent.to_bytes(4, "big"))])[0]["cache"] == "hit"  # out of Redis


def test_a_server_that_hangs_costs_one_timeout_and_no_more(server):
    cache = machine(server)
    cache.put_answer("key", {"prediction": "Real"})
    cache.results.clear()
    server.freeze()
    try:
        for _ in range(200):
            assert cache.get_answer("key") is None
        assert cache.take_lease("key")
        stats = cache.stats()
        assert (stats["store_up"], stats["store_errors"]) == (False, 1)
        assert stats["results"]["misses"] == 200
    finally:
        server.thaw()
    wait_for(lambda: cache.stats()["store_up"])
    assert cache.get_answer("key") == {"prediction": "Real"}


def test_a_server_that_was_never_there_stops_nobody(tmp_path):
    server = RedisServer(tmp_path)
    cache = machine(server)
    cache.put_answer("key", {"prediction": "Real"})
    assert cache.get_answer("key") == {"prediction": "Real"}
    assert not cache.stats()["store_up"]
    cache.close()
