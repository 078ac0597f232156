"""What a detection remembers, in two tiers, each in memory and, where there is one, in a store that workers share.

results   content + model + version + build + variant + options -> answer: a repeat is not even opened
samples   content + input spec + sampling options + preprocessing code -> crops, features: nothing is decoded again
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from typing import Any

from model_defs.caching.memory import ModelCache
from model_defs.caching.settings import CacheSettings
from model_defs.caching.store import GuardedStore, Store

FORMAT = 1  # of the values; part of every key
POLL_FIRST_S = 0.005
POLL_LAST_S = 0.05


class DetectionCache:
    """The two tiers of one process.

    Args:
        settings: sizes, and which store.
        store: in place of the one that the settings name.

    Attributes:
        results: the memory of answers, as JSON.
        samples: the memory of packed samples.
    """

    def __init__(self, settings: CacheSettings = CacheSettings(), store: Store | None = None) -> None:
        self.settings = settings
        self.results: ModelCache[bytes] = ModelCache(settings.max_items, settings.max_bytes)
        self.samples: ModelCache[bytes] = ModelCache(settings.max_items, settings.max_bytes)
        store = store or open_store(settings)
        owner = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._store = None if store is None else GuardedStore(store, owner, settings.retry_s)
        self._found = {"results": [0, 0], "samples": [0, 0]}  # hits and misses of the store

    def get_answer(self, key: str) -> dict | None:
        known = self._get(self.results, "results", key)
        return None if known is None else json.loads(known)

    def put_answer(self, key: str, answer: dict) -> None:
        self._put(self.results, key, json.dumps(answer).encode())

    def get_sample(self, key: str) -> bytes | None:
        return self._get(self.samples, "samples", key)

    def put_sample(self, key: str, packed: bytes) -> None:
        self._put(self.samples, key, packed)

    def take_lease(self, key: str) -> bool:
        """Whether this process may compute the answer: False while another one does."""
        return self._store is None or self._store.acquire(key, self.settings.lease_s)

    def give_back_lease(self, key: str) -> None:
        if self._store is not None:
            self._store.release(key)

    def answer_of_others(self, key: str) -> dict | None:
        """The answer in the store alone, counted neither as a hit nor as a miss."""
        known = None if self._store is None else self._store.get(key)
        if known is None:
            return None
        self.results.put(key, known)
        return json.loads(known)

    def wait_for_answer(self, key: str) -> dict | None:
        """The answer that another process is computing; None when this one now has the lease, and must do it itself.

        It waits until the lease ends at the latest: a worker that is killed holds nobody up for longer.
        """
        until_s = time.monotonic() + self.settings.lease_s
        pause_s = POLL_FIRST_S
        while True:
            is_mine = self.take_lease(key) or time.monotonic() > until_s
            if answer := self.answer_of_others(key):  # looked for after the lease: it is put before that is given back
                self.give_back_lease(key)
                return answer
            if is_mine:
                return None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_LAST_S)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def stats(self) -> dict[str, Any]:
        """Counts since the process began.

        `results` and `samples` hold those of the tiers: `hits` and `misses` of the tier as a whole, `store_hits` among
        them, and items, bytes and evictions of its memory. `store` is its kind, `store_up` whether it is in use,
        `store_errors` how many calls failed; an embedded store adds `store_items`, `store_bytes` and `store_resets`.
        """
        tiers = {}
        for name, memory in (("results", self.results), ("samples", self.samples)):
            counts = memory.stats()
            found = self._found[name][0]
            tiers[name] = counts | {
                "hits": counts["hits"] + found,
                "misses": counts["misses"] - found,
                "store_hits": found,
            }
        none = {"store": "memory", "store_up": True, "store_errors": 0, "store_damaged": 0}
        return {**tiers, **(none if self._store is None else self._store.stats())}

    def _get(self, memory: ModelCache[bytes], tier: str, key: str) -> bytes | None:
        known = memory.get(key)
        if known is not None or self._store is None:
            return known
        known = self._store.get(key)
        if known is not None:
            self._found[tier][0] += 1
            memory.put(key, known)
        return known

    def _put(self, memory: ModelCache[bytes], key: str, value: bytes) -> None:
        memory.put(key, value)
        if self._store is not None:
            self._store.put(key, value)


def cache_key(tier: str, *parts: object) -> str:
    """The key of an entry: a digest over everything that it depends on."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, default=str)
    return f"{tier}:{hashlib.sha256(text.encode()).hexdigest()}"


def open_store(settings: CacheSettings) -> Store | None:
    """The store that the settings name; None for `memory`. It need not be reachable yet."""
    if settings.store == "embedded":
        from model_defs.caching.embedded_store import EmbeddedStore

        return EmbeddedStore(settings.path, settings.store_max_items, settings.store_max_bytes, settings.timeout_s)
    if settings.store == "redis":
        from model_defs.caching.redis_store import RedisStore

        return RedisStore(settings.redis_url, settings.timeout_s, settings.ttl_s)
    return None
