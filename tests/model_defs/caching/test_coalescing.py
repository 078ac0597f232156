"""Each answer is computed once, over threads and over processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_defs.caching.coalescing import Coalescer, Outcome
from model_defs.caching.detection_cache import DetectionCache
from model_defs.caching.settings import CacheSettings
from model_defs.errors import DetectionError, ErrorCode

LATE = DetectionError(ErrorCode.DECODE_TIMEOUT, "too slow")


class Computer:
    """Answers with the key; counts, and may be slow, fail or refuse."""

    def __init__(self, keys: Sequence[str], delay_s: float = 0.0, error: Exception | None = None) -> None:
        self.keys = keys
        self.delay_s = delay_s
        self.error = error
        self.computed: list[str] = []

    def __call__(self, positions: Sequence[int]) -> list[Outcome]:
        self.computed += [self.keys[position] for position in positions]
        time.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return [
            Outcome(LATE, "miss") if self.keys[position].startswith("late") else
            Outcome({"text": self.keys[position], "list": [1]}, "miss", not self.keys[position].startswith("part"))
            for position in positions
        ]  # fmt: skip


def memory() -> DetectionCache:
    return DetectionCache(CacheSettings(store="memory"))


def process(directory: Path, **settings) -> DetectionCache:
    """What one worker of several on a machine has; each instance takes leases of its own."""
    return DetectionCache(CacheSettings(store="embedded", path=str(directory), timeout_s=2.0, **settings))


def run(cache_or_coalescer, *keys: str, **arguments) -> tuple[list[str], list[str]]:
    """Sources of the outcomes, and what was computed; every outcome is held to be its key's."""
    coalescer = cache_or_coalescer
    if isinstance(coalescer, DetectionCache):
        coalescer = Coalescer(coalescer)
    computer = Computer(keys, **arguments)
    outcomes = coalescer.resolve(keys, computer)
    for key, outcome in zip(keys, outcomes, strict=True):
        assert outcome.answer is LATE if key.startswith("late") else outcome.answer["text"] == key
    return [outcome.source for outcome in outcomes], computer.computed


def test_equal_keys_are_computed_once_and_keep_their_places():
    assert run(memory(), "a", "b", "a", "c", "b") == (["miss", "miss", "hit", "miss", "hit"], ["a", "b", "c"])


def test_a_repeat_is_a_hit_and_nobody_shares_what_can_be_changed():
    coalescer = Coalescer(memory())
    first = coalescer.resolve(["a", "a"], Computer(["a", "a"]))
    first[0].answer["list"].append(2)
    assert first[1].answer["list"] == [1]
    again = coalescer.resolve(["a"], Computer(["a"]))
    assert (again[0].source, again[0].answer["list"]) == ("hit", [1])


@pytest.mark.parametrize("key", ["late", "part"])
def test_what_may_pass_is_shared_but_not_kept(key):
    coalescer = Coalescer(memory())
    assert run(coalescer, key, key)[1] == [key]
    assert run(coalescer, key)[1] == [key]


def test_threads_wait_for_the_first():
    coalescer, barrier = Coalescer(memory()), threading.Barrier(5)

    def call(_: int) -> tuple[list[str], list[str]]:
        barrier.wait(10)
        return run(coalescer, "a", "late", delay_s=0.3)

    with ThreadPoolExecutor(5) as callers:
        results = list(callers.map(call, range(5)))
    assert sorted(key for _, computed in results for key in computed) == ["a", "late"]


def test_threads_that_wait_for_each_other_do_not_stand_still():
    coalescer = Coalescer(memory())
    with ThreadPoolExecutor(8) as callers:
        keys = [[f"{(seed * step) % 7}" for step in range(1, 6)] for seed in range(1, 40)]
        list(callers.map(lambda each: run(coalescer, *each, delay_s=0.002), keys))


def test_after_an_error_those_who_waited_see_for_themselves():
    coalescer = Coalescer(memory())

    def fail() -> None:
        with pytest.raises(RuntimeError, match="boom"):
            run(coalescer, "a", delay_s=0.3, error=RuntimeError("boom"))

    with ThreadPoolExecutor(2) as callers:
        failing = callers.submit(fail)
        time.sleep(0.1)
        assert run(coalescer, "a") == (["miss"], ["a"])
        failing.result()


def test_processes_share_answers(tmp_path):
    assert run(process(tmp_path / "cache"), "a") == (["miss"], ["a"])
    other = process(tmp_path / "cache")
    assert run(other, "a") == (["hit"], [])
    assert other.stats()["results"]["store_hits"] == other.stats()["results"]["hits"] == 1


def test_processes_wait_for_the_first(tmp_path):
    caches = [process(tmp_path / "cache") for _ in range(4)]
    barrier = threading.Barrier(4)

    def call(cache: DetectionCache) -> tuple[list[str], list[str]]:
        barrier.wait(10)
        return run(cache, "a", "b", delay_s=0.3)

    with ThreadPoolExecutor(4) as callers:
        results = list(callers.map(call, caches))
    assert sorted(key for _, computed in results for key in computed) == ["a", "b"]


def test_a_process_that_died_with_the_lease_is_not_waited_for_long(tmp_path):
    dead, alive = (process(tmp_path / "cache", lease_s=0.4) for _ in range(2))
    assert dead.take_lease("a")
    started = time.monotonic()
    assert run(alive, "a") == (["miss"], ["a"])
    assert time.monotonic() - started >= 0.3  # it did wait


def test_a_lease_is_given_back_when_the_answer_cannot_be_kept(tmp_path):
    one, other = process(tmp_path / "cache"), process(tmp_path / "cache")
    run(one, "late")
    with pytest.raises(RuntimeError):
        run(one, "a", error=RuntimeError("boom"))
    started = time.monotonic()
    run(other, "late", "a")
    assert time.monotonic() - started < other.settings.lease_s
