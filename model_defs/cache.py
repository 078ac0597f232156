"""Answers that need not be computed twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ModelCache(Generic[Value]):
    """A thread-safe cache that forgets what was used least recently.

    Args:
        max_items: entries kept; 0 keeps none.
    """

    def __init__(self, max_items: int = 100) -> None:
        if max_items < 0:
            raise ValueError(f"max_items is {max_items}; it must be 0 or more")
        self.max_items = max_items
        self._entries: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()
        self._hits = self._misses = self._evictions = 0

    def get(self, key: Hashable) -> Value | None:
        """The value kept for `key`, now the most recently used; None when there is none."""
        with self._lock:
            if key not in self._entries:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: Hashable, value: Value) -> None:
        """Keeps `value`, and drops the least recently used entries beyond `max_items`."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_items:
                self._entries.popitem(last=False)
                self._evictions += 1

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def stats(self) -> dict[str, int]:
        """Counts since the cache was made: items, max_items, hits, misses, evictions."""
        with self._lock:
            return {
                "items": len(self._entries),
                "max_items": self.max_items,
                "hits": self._hits,
                "misses": self._misses,
                "evictions": self._evictions,
            }
