"""The `handler.cache` section of a model configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from model_defs.caching.memory import MAX_BYTES, MAX_ITEMS
from model_defs.limits import MIB

STORES = ("memory", "embedded", "redis")
STORE_VARIABLE = "DEEPDETECT_CACHE_STORE"  # beats the setting: one archive serves alone and beside others
URL_VARIABLE = "DEEPDETECT_REDIS_URL"  # where a password belongs: the archive, which holds the settings, is no secret


@dataclass(frozen=True)
class CacheSettings:
    """What is remembered, and where.

    Attributes:
        max_items: answers, and apart from them preprocessed samples, in the memory of each worker; 0 turns the cache
            off, the store included.
        max_bytes: bytes of either in the memory of each worker.
        store: what workers share: `memory` nothing, `embedded` a file on this machine, `redis` a Redis server; the
            environment variable DEEPDETECT_CACHE_STORE beats what a configuration says.
        path: directory of the embedded store; empty: `deepdetect-cache` in the temporary directory (TMPDIR, TEMP).
        url: of the Redis server, as in `redis://:password@host:6379/0` or `rediss://` for TLS; empty: the environment
            variable DEEPDETECT_REDIS_URL.
        store_max_items: entries of the embedded store. Redis is bounded by its own `maxmemory`.
        store_max_bytes: bytes of the embedded store, in values.
        ttl_s: Redis forgets an entry this long after it was written.
        timeout_s: for one call to the store; after one that fails it is left alone until it answers again.
        retry_s: seconds from one try to reach a store that is down to the next.
        lease_s: how long others wait for a worker that computes the same answer, at most.
    """

    max_items: int = MAX_ITEMS
    max_bytes: int = MAX_BYTES
    store: str = "embedded"
    path: str = ""
    url: str = field(default="", repr=False)
    store_max_items: int = 10_000
    store_max_bytes: int = 512 * MIB
    ttl_s: float = 7 * 86_400.0
    timeout_s: float = 0.1
    retry_s: float = 2.0
    lease_s: float = 5.0

    def __post_init__(self) -> None:
        if self.store not in STORES:
            raise ValueError(f"cache: store is {self.store!r}; allowed: {', '.join(STORES)}")
        for name in ("path", "url"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"cache: {name} is {getattr(self, name)!r}; it must be text")
        for name in ("max_items", "max_bytes", "store_max_items", "store_max_bytes"):
            if not _is_number(value := getattr(self, name), int) or value < 0:
                raise ValueError(f"cache: {name} is {value!r}; it must be a whole number, 0 or more")
        for name in ("ttl_s", "timeout_s", "retry_s", "lease_s"):
            if not _is_number(value := getattr(self, name), int, float) or not value > 0:
                raise ValueError(f"cache: {name} is {value!r}; it must be a number above 0")
        if self.store == "redis" and self.is_on and not self.redis_url:
            raise ValueError(f"cache: store is redis; set url, or the environment variable {URL_VARIABLE}")
        if self.url and not self.url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("cache: url must start with redis://, rediss:// or unix://")

    @property
    def is_on(self) -> bool:
        return self.max_items > 0

    @property
    def redis_url(self) -> str:
        return self.url or os.environ.get(URL_VARIABLE, "")

    @classmethod
    def from_dict(cls, record: Mapping[str, Any] | None) -> CacheSettings:
        """Settings from a configuration section; what is left out keeps its default.

        Raises:
            ValueError: a key is unknown or a value is not allowed.
        """
        if record is not None and not isinstance(record, Mapping):
            raise ValueError(f"cache: is {record!r}; a section with settings was expected")
        values = dict(record or {})
        if store := os.environ.get(STORE_VARIABLE):
            values["store"] = store
        known = {setting.name for setting in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"cache: unknown setting {sorted(unknown)}; allowed: {', '.join(sorted(known))}")
        return cls(**values)


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
