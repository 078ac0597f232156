"""What workers share: one interface over two stores, and what keeps a bad store from hurting a request."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable
from typing import Protocol, TypeVar

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
CHECKSUM_BYTES = 4


class StoreError(RuntimeError):
    """The store cannot be reached, or does not work."""


class StoreBusy(StoreError):
    """Somebody else kept the store from answering in time; the next call may well do better."""


class Store(Protocol):
    """Bytes by key, for several processes. Every method may be called from any thread, and raises StoreError."""

    name: str

    def get(self, key: str) -> bytes | None:
        """The value of `key`; None when there is none."""

    def put(self, key: str, value: bytes) -> None:
        """Keeps `value`, as long as there is room for it."""

    def acquire(self, key: str, owner: str, lease_s: float) -> bool:
        """Takes the lease on `key` unless another has it; it ends by itself after `lease_s`."""

    def release(self, key: str, owner: str) -> None:
        """Gives the lease back, if `owner` still has it."""

    def ping(self) -> None:
        """Does nothing, successfully."""

    def close(self) -> None:
        """Lets files and connections go."""

    def stats(self) -> dict[str, int]:
        """Counts of its own kind; raises nothing."""


class GuardedStore:
    """A store that can fail without anybody minding.

    Values carry a checksum over key and content: what comes back damaged is no value. A call that fails opens the
    circuit: from then on every call returns at once, as if the store were empty, while a thread in the background
    tries every `retry_s` seconds and closes it again. So a store that is down costs one request `timeout_s` once,
    and the others nothing.

    Args:
        store: what may fail.
        owner: whose leases these are; different in every process.
    """

    def __init__(self, store: Store, owner: str, retry_s: float) -> None:
        self._store = store
        self._owner = owner
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._is_up = True
        self._is_closed = False
        self._errors = self._damaged = 0

    def get(self, key: str) -> bytes | None:
        sealed = self._try(lambda: self._store.get(key), None)
        if sealed is None:
            return None
        value = sealed[CHECKSUM_BYTES:]
        if sealed[:CHECKSUM_BYTES] != _checksum(key, value):
            with self._lock:
                self._damaged += 1
            logger.warning("cache: an entry of the %s store is damaged and was left out", self._store.name)
            return None
        return value

    def put(self, key: str, value: bytes) -> None:
        self._try(lambda: self._store.put(key, _checksum(key, value) + value), None)

    def acquire(self, key: str, lease_s: float) -> bool:
        """True also where the store is down: then nobody can be waited for."""
        return self._try(lambda: self._store.acquire(key, self._owner, lease_s), True)

    def release(self, key: str) -> None:
        self._try(lambda: self._store.release(key, self._owner), None)

    def close(self) -> None:
        self._is_closed = True
        self._store.close()

    def stats(self) -> dict[str, int | str | bool]:
        """`store` (its kind), `store_up`, `store_errors` (failed calls), `store_damaged` (entries), and its own."""
        with self._lock:
            counts = {"store_up": self._is_up, "store_errors": self._errors, "store_damaged": self._damaged}
        return {"store": self._store.name, **counts, **self._store.stats()}

    def _try(self, call: Callable[[], Result], otherwise: Result) -> Result:
        if not self._is_up:
            return otherwise
        try:
            return call()
        except StoreBusy:
            with self._lock:
                self._errors += 1
        except StoreError as error:
            self._trip(error)
        return otherwise

    def _trip(self, error: StoreError) -> None:
        with self._lock:
            self._errors += 1
            if not self._is_up:
                return
            self._is_up = False
        logger.warning("cache: going on without the %s store: %s", self._store.name, error)
        threading.Thread(target=self._wait_until_up, name="cache-store", daemon=True).start()

    def _wait_until_up(self) -> None:
        while not self._is_closed:
            time.sleep(self._retry_s)
            try:
                self._store.ping()
            except StoreError:
                continue
            with self._lock:
                self._is_up = True
            logger.warning("cache: the %s store is back", self._store.name)
            return


def _checksum(key: str, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key.encode())).to_bytes(CHECKSUM_BYTES, "big")
