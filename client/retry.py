"""Calls that may be made again: how often, and after which pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from client.errors import ServerUnavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with jitter: the pause after attempt n is drawn from the upper half of first_delay_s * 2**n.

    Where the server names a time (`Retry-After`), that is waited for instead, and a little longer, so that clients
    which were sent away together do not come back together.

    Attributes:
        attempts: calls in all, the first included.
        first_delay_s: longest pause after the first attempt.
        max_delay_s: no pause of our own choice is longer.
        max_wait_s: sum of the pauses; where the next one would pass it, the error is raised instead.
    """

    attempts: int = 5
    first_delay_s: float = 0.25
    max_delay_s: float = 4.0
    max_wait_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; it must be 1 or more")
        for name in ("first_delay_s", "max_delay_s", "max_wait_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")

    def call(self, attempt: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
        """The attempt's result. Only `ServerUnavailable` leads to another one.

        Raises:
            ServerUnavailable: that of the last attempt.
        """
        waited_s = 0.0
        for index in range(self.attempts):
            try:
                return attempt()
            except ServerUnavailable as error:
                pause_s = self._pause_s(index, error.retry_after_s)
                if index == self.attempts - 1 or waited_s + pause_s > self.max_wait_s:
                    raise
                sleep(pause_s)
                waited_s += pause_s
        raise AssertionError("unreachable")

    def _pause_s(self, index: int, retry_after_s: float | None) -> float:
        if retry_after_s is not None:
            return retry_after_s + random.uniform(0, self.first_delay_s)
        return random.uniform(0.5, 1) * min(self.max_delay_s, self.first_delay_s * 2**index)


DEFAULT = Retry()
ONCE = Retry(attempts=1)
