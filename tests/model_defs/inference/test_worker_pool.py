from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from model_defs.inference.worker_pool import DecodePool


def test_results_come_in_the_order_of_the_items():
    def slower_first(item: int) -> int:
        time.sleep(0.02 * (3 - item))
        return item * 10

    assert DecodePool(3).map(slower_first, range(3), timeout_s=10) == [0, 10, 20]
    assert DecodePool(1).map(slower_first, [], timeout_s=10) == []


def test_no_more_run_at_a_time_than_there_are_threads():
    pool, lock, running, most = DecodePool(2), threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(lambda _: pool.map(work, range(5), timeout_s=10), range(4)))
    assert most == 2


def test_the_first_error_is_raised_when_all_have_ended():
    ended = []

    def work(item: int) -> None:
        if item == 0:
            raise LookupError("zero")
        ended.append(item)

    with pytest.raises(LookupError, match="zero"):
        DecodePool(1).map(work, range(3), timeout_s=10)
    assert ended == [1, 2]


def test_a_task_that_hangs_costs_its_own_place_and_a_thread_that_is_replaced():
    pool, release = DecodePool(2), threading.Event()

    def work(item: str) -> str:
        if item == "hang":
            release.wait(60)
        return item

    assert pool.map(work, ["hang", "a", "hang", "b", "c"], timeout_s=0.2) == [None, "a", None, "b", "c"]
    assert pool.n_stuck == 2
    assert pool.map(work, ["d", "e"], timeout_s=10) == ["d", "e"]
    release.set()
    for _ in range(500):
        if not pool.n_stuck:
            break
        time.sleep(0.01)
    assert pool.n_stuck == 0
    barrier = threading.Barrier(2)
    assert sorted(pool.map(lambda _: barrier.wait(10), range(2), timeout_s=20)) == [0, 1]  # two threads, no fewer


def test_waiting_for_a_thread_does_not_count():
    def work(item: int) -> int:
        time.sleep(0.15)
        return item

    assert DecodePool(1).map(work, range(4), timeout_s=0.4) == [0, 1, 2, 3]


def test_threads_end_when_there_is_nothing_to_do(monkeypatch):
    monkeypatch.setattr("model_defs.inference.worker_pool.IDLE_S", 0.05)
    pool = DecodePool(2)
    before = threading.active_count()
    pool.map(time.sleep, [0.01, 0.01], timeout_s=10)
    for _ in range(500):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before
    assert pool.map(str, [1], timeout_s=10) == ["1"]


def test_a_pool_needs_a_thread():
    with pytest.raises(ValueError, match="n_threads is 0"):
        DecodePool(0)
