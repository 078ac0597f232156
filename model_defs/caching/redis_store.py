"""The store that several machines share: a Redis server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from model_defs.caching.store import StoreError

PREFIX = "deepdetect:"
RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisStore:
    """Entries are plain keys with a time to live; what goes first when memory is short, `maxmemory-policy` says.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`.
        timeout_s: for connecting, and for one answer.
        ttl_s: an entry is forgotten this long after it was written.
    """

    name = "redis"

    def __init__(self, url: str, timeout_s: float, ttl_s: float) -> None:
        self._ttl_ms = round(1_000 * ttl_s)
        # The client's own retries, with growing pauses between them, would be paid for by a request.
        self._client = redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
        self._release = self._client.register_script(RELEASE)

    def get(self, key: str) -> bytes | None:
        with _as_store_error():
            return self._client.get(PREFIX + key)

    def put(self, key: str, value: bytes) -> None:
        with _as_store_error():
            self._client.set(PREFIX + key, value, px=self._ttl_ms)

    def acquire(self, key: str, owner: str, lease_s: float) -> bool:
        with _as_store_error():
            return bool(self._client.set(_lease(key), owner, nx=True, px=max(1, round(1_000 * lease_s))))

    def release(self, key: str, owner: str) -> None:
        with _as_store_error():
            self._release(keys=[_lease(key)], args=[owner])

    def ping(self) -> None:
        with _as_store_error():
            self._client.ping()

    def close(self) -> None:
        self._client.close()

    def stats(self) -> dict[str, int]:
        """Nothing of its own: Redis counts for itself."""
        return {}


def _lease(key: str) -> str:
    return f"{PREFIX}lease:{key}"


@contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreError(f"{type(error).__name__}: {error}") from error
