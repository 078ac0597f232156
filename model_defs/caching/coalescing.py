"""Has each answer computed once: by this call, by another thread, by another process, or long ago."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from model_defs.caching.detection_cache import DetectionCache
from model_defs.errors import DetectionError


@dataclass(frozen=True)
class Outcome:
    """What came of one request.

    Attributes:
        answer: the answer, or why there is none.
        source: `hit`, `samples`, `miss` or `off`, as the answer's `cache` says.
        may_keep: whether the same request will give the same again, whenever it comes.
    """

    answer: dict | DetectionError
    source: str
    may_keep: bool = False

    def shared(self) -> Outcome:
        """The same for somebody who did not have to compute it, and may change it."""
        return Outcome(copy.deepcopy(self.answer) if isinstance(self.answer, dict) else self.answer, "hit")


Compute = Callable[[Sequence[int]], Sequence[Outcome]]


class Coalescer:
    """The way past the results tier.

    Args:
        cache: where answers are kept, and leases taken.
    """

    def __init__(self, cache: DetectionCache) -> None:
        self._cache = cache
        self._flights: dict[str, Future[Outcome | None]] = {}
        self._lock = threading.Lock()

    def resolve(self, keys: Sequence[str], compute: Compute) -> list[Outcome]:
        """The outcome of each key; equal keys are computed once, and none that is known or under way elsewhere.

        What is its own to compute comes before any waiting for others, so that two callers never wait for each other.

        Args:
            compute: gives the outcomes of the requests at some positions, in their order.
        """
        outcomes: dict[str, Outcome | None] = dict.fromkeys(keys)
        position = {key: index for index, key in reversed(list(enumerate(keys)))}
        flights, mine = self._board(outcomes)
        try:
            fresh, elsewhere = [], []
            for key in mine:
                if known := self._cache.get_answer(key):
                    self._land(key, Outcome(known, "hit"), outcomes)
                elif not self._cache.take_lease(key):
                    elsewhere.append(key)
                elif known := self._cache.answer_of_others(key):  # put between the two
                    self._cache.give_back_lease(key)
                    self._land(key, Outcome(known, "hit"), outcomes)
                else:
                    fresh.append(key)
            self._compute(fresh, position, compute, outcomes)
            for key in elsewhere:
                if known := self._cache.wait_for_answer(key):
                    self._land(key, Outcome(known, "hit"), outcomes)
                else:
                    self._compute([key], position, compute, outcomes)
        finally:
            for key in mine:  # after an error of ours: those who wait see for themselves
                self._land(key, outcomes[key], outcomes)
        for key, flight in flights.items():
            outcome = flight.result()
            if outcome is None:
                self._compute([key], position, compute, outcomes)
            else:
                outcomes[key] = outcome.shared()
        return [outcomes[key] if position[key] == index else outcomes[key].shared() for index, key in enumerate(keys)]

    def _board(self, keys: Sequence[str]) -> tuple[dict[str, Future], list[str]]:
        """The flights of other threads that some keys are on, and the keys that this call now has to see to."""
        others, mine = {}, []
        with self._lock:
            for key in keys:
                if key in self._flights:
                    others[key] = self._flights[key]
                else:
                    self._flights[key] = Future()
                    mine.append(key)
        return others, mine

    def _land(self, key: str, outcome: Outcome | None, outcomes: dict[str, Outcome | None]) -> None:
        outcomes[key] = outcome
        with self._lock:
            flight = self._flights.pop(key, None)
        if flight is not None:
            flight.set_result(outcome)

    def _compute(self, keys: Sequence[str], position: dict[str, int], compute: Compute, outcomes: dict) -> None:
        if not keys:
            return
        try:
            for key, outcome in zip(keys, compute([position[key] for key in keys]), strict=True):
                if outcome.may_keep and isinstance(outcome.answer, dict):
                    self._cache.put_answer(key, outcome.answer)
                self._land(key, outcome, outcomes)
        finally:
            for key in keys:
                self._cache.give_back_lease(key)
