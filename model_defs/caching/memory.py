"""What need not be computed twice: a bounded memory of one process."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from model_defs.limits import MIB

Value = TypeVar("Value")

MAX_ITEMS = 100
MAX_BYTES = 64 * MIB


class ModelCache(Generic[Value]):
    """A thread-safe cache that forgets what was used least recently.

    Args:
        max_items: entries kept; 0 keeps none.
        max_bytes: bytes kept, as `sizeof` counts them; a value larger than that is not kept.
        sizeof: bytes that a value takes. The default is right for `bytes` and `str`; of a container it counts no
            contents.
    """

    def __init__(
        self,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
        sizeof: Callable[[Value], int] = sys.getsizeof,
    ) -> None:
        for name, value in (("max_items", max_items), ("max_bytes", max_bytes)):
            if value < 0:
                raise ValueError(f"{name} is {value}; it must be 0 or more")
        self.max_items = max_items
        self.max_bytes = max_bytes
        self._sizeof = sizeof
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0
        self._hits = self._misses = self._evictions = 0

    def get(self, key: Hashable) -> Value | None:
        """The value kept for `key`, now the most recently used; None when there is none."""
        with self._lock:
            if key not in self._entries:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Value) -> None:
        """Keeps `value`, and drops the least recently used entries beyond `max_items` and `max_bytes`."""
        n_bytes = self._sizeof(value)
        with self._lock:
            self._bytes -= self._entries.pop(key, (None, 0))[1]
            if n_bytes > self.max_bytes:  # it would push out everything else, and then itself
                self._evictions += 1
                return
            self._entries[key] = value, n_bytes
            self._bytes += n_bytes
            while len(self._entries) > self.max_items or self._bytes > self.max_bytes:
                self._bytes -= self._entries.popitem(last=False)[1][1]
                self._evictions += 1

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def stats(self) -> dict[str, int]:
        """What is held (items, bytes), how much may be, and counts since it was made: hits, misses, evictions."""
        with self._lock:
            return {
                "items": len(self._entries),
                "max_items": self.max_items,
                "bytes": self._bytes,
                "max_bytes": self.max_bytes,
                "hits": self._hits,
                "misses": self._misses,
                "evictions": self._evictions,
            }
