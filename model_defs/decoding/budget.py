"""The wall time that one file may take to decode."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_defs.errors import DetectionError, ErrorCode


class DecodeBudget:
    """A stopwatch that refuses the file once it has run for `limit_s`; it runs only inside `running()`."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._spent_s = 0.0
        self._started_s: float | None = None

    @property
    def spent_s(self) -> float:
        """Seconds on the watch."""
        running_s = 0.0 if self._started_s is None else time.perf_counter() - self._started_s
        return self._spent_s + running_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the watch run for the length of the block."""
        self._started_s = time.perf_counter()
        try:
            yield
        finally:
            self._spent_s, self._started_s = self.spent_s, None

    def check(self) -> None:
        """Refuse the file if its time is up.

        Raises:
            DetectionError: `decode_timeout`.
        """
        if self.spent_s > self.limit_s:
            raise out_of_time(self.limit_s)


def out_of_time(limit_s: float) -> DetectionError:
    """The refusal of a file that takes too long."""
    return DetectionError(
        ErrorCode.DECODE_TIMEOUT, f"decoding takes more than {limit_s:g} s of wall time, the limit (decode_budget_s)"
    )
