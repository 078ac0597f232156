"""A bounded pool of threads in which a task that does not come back costs its own place only."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

IDLE_S = 10.0  # a thread without work ends after this, so that a pool that is forgotten leaves none behind


@dataclass(eq=False)
class _Task:
    call: Callable[[], Any]
    future: Future = field(default_factory=Future)
    started_s: float | None = None
    is_abandoned: bool = False

    @property
    def is_open(self) -> bool:
        return not self.is_abandoned and not self.future.done()


class DecodePool:
    """Runs tasks side by side, each with a deadline that is kept from outside.

    A thread inside a call to C cannot be ended. When its task is overdue the caller is told so, the thread is left to
    itself and counted as stuck, and another takes its place: the pool has `n_threads` again. A stuck thread that comes
    back after all ends, and is no longer counted.

    Args:
        n_threads: tasks that run at the same time, those that are stuck left aside.
    """

    def __init__(self, n_threads: int) -> None:
        if n_threads < 1:
            raise ValueError(f"n_threads is {n_threads}; it must be at least 1")
        self._n_threads = n_threads
        self._waiting: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._n_alive = self._n_idle = self._n_stuck = 0

    @property
    def n_stuck(self) -> int:
        """Threads that were given up and have not come back."""
        return self._n_stuck

    def map(self, function: Callable[[Item], Result], items: Sequence[Item], timeout_s: float) -> list[Result | None]:
        """`function` of every item, in order; None for one that took longer than `timeout_s` from when it began.

        Raises:
            Exception: the first that `function` raised, once every task has ended or was given up.
        """
        tasks = [_Task(lambda item=item: function(item)) for item in items]
        with self._changed:
            self._waiting.extend(tasks)
            self._add_threads()
            self._changed.notify_all()
            while open_tasks := [task for task in tasks if task.is_open]:
                self._changed.wait(self._abandon_overdue(open_tasks, timeout_s))
        return [None if task.is_abandoned else task.future.result() for task in tasks]

    def _abandon_overdue(self, tasks: Sequence[_Task], timeout_s: float) -> float | None:
        """Seconds until the next deadline, 0 where one has just passed; None while none of the tasks has begun."""
        now_s = time.monotonic()
        left_s = {task: task.started_s + timeout_s - now_s for task in tasks if task.started_s is not None}
        if overdue := [task for task, seconds in left_s.items() if seconds <= 0]:
            for task in overdue:
                task.is_abandoned = True
            self._n_stuck += len(overdue)
            self._n_alive -= len(overdue)
            self._add_threads()
            return 0.0
        return min(left_s.values(), default=None)

    def _add_threads(self) -> None:
        n_wanted = min(len(self._waiting) - self._n_idle, self._n_threads - self._n_alive)
        for _ in range(n_wanted):
            self._n_alive += 1
            # A daemon: a stuck one must not keep the process from ending.
            threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        # Files are what runs side by side; inside one, torch keeps to a single thread, as it does in a worker.
        torch.set_num_threads(1)
        while task := self._next():
            try:
                task.future.set_result(task.call())
            except BaseException as error:
                task.future.set_exception(error)
            with self._changed:
                if task.is_abandoned:
                    self._n_stuck -= 1
                    return
                self._changed.notify_all()

    def _next(self) -> _Task | None:
        """The next task, now begun; None when there was none for a while, and the thread is to end."""
        with self._changed:
            self._n_idle += 1
            has_work = self._changed.wait_for(lambda: self._waiting, IDLE_S)
            self._n_idle -= 1
            if not has_work:
                self._n_alive -= 1
                return None
            task = self._waiting.popleft()
            task.started_s = time.monotonic()
            self._changed.notify_all()  # its deadline is known now
            return task
