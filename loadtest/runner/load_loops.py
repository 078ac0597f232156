"""Load from threads of this process, for what measures many settings in turns: Locust alone takes seconds to start.

In a closed loop each caller asks again when it has its answer (`Callers`, of which all such load is made); in an open
one requests are sent when they are due, whatever became of the ones before, and latency counts from then.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import psutil

from client.errors import ClientError
from client.inference import HttpClient
from client.padding import unique
from client.retry import ONCE
from loadtest.measure.results import JUDGED, Run, Sample
from loadtest.measure.usage import Watch
from loadtest.workload.arrivals import poisson
from operations.server import TorchServe

PAUSE_AFTER_ERROR_S = 0.1
MAX_IN_FLIGHT = 64  # of an open loop; a request that has no caller left is late, and counts as late


class Closable(Protocol):
    """What a caller asks through."""

    def close(self) -> None:
        """Let go of it."""


Connection = TypeVar("Connection", bound=Closable)


class Callers(Generic[Connection]):
    """The threads of a closed loop; each asks at least once.

    Args:
        connections: one for each caller, closed when it has ended.
        ask: sends a request and waits for its answer. What it raises ends all callers, and `wait` raises it.
        goes_on: whether a caller is to ask again.
    """

    def __init__(
        self, connections: Sequence[Connection], ask: Callable[[Connection], None], goes_on: Callable[[], bool]
    ) -> None:
        self._ask, self._goes_on = ask, goes_on
        self._is_over = threading.Event()
        self._failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in connections]

    def start(self) -> None:
        """Let all of them ask."""
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Returns when every caller has had its last answer."""
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def stop(self) -> None:
        """No further request, and wait."""
        self._is_over.set()
        self.wait()

    def pause(self, seconds: float) -> None:
        """Wait in a caller, or until they are stopped."""
        self._is_over.wait(seconds)

    def _run(self, connection: Connection) -> None:
        try:
            with closing(connection):
                self._ask(connection)
                while self._goes_on() and not self._is_over.is_set():
                    self._ask(connection)
        except Exception as error:  # whatever it is, it is raised where it is waited for
            self._failures.append(error)
            self._is_over.set()


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        kind: what was sent, such as `good` or `hostile`.
        sent_s, done_s: on the clock of `time.perf_counter`.
        outcome: `judged`, an error code, `wrong answer`, or the error that the client raised.
        is_answer: whether it is an answer or an error of the contract, rather than a failed call.
    """

    kind: str
    sent_s: float
    done_s: float
    outcome: str
    is_answer: bool


class Traffic:
    """Callers who send files of several kinds until they are stopped, and write down what became of each.

    Args:
        client: makes the client of one caller.
        draw: the kind and bytes of the next file, called by all callers.
        model: on the server.
        n_callers: how many ask at the same time.
    """

    def __init__(
        self, client: Callable[[], HttpClient], draw: Callable[[], tuple[str, bytes]], model: str, n_callers: int
    ) -> None:
        self.calls: list[Call] = []
        self._draw, self._model = draw, model
        self._callers = Callers([client() for _ in range(n_callers)], self._ask, lambda: True)

    def __enter__(self) -> Traffic:
        self._callers.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Returns when every caller has had its last reply."""
        self._callers.stop()

    def outcomes(self, kind: str | None = None) -> Counter[str]:
        """How often each outcome was seen."""
        return Counter(call.outcome for call in list(self.calls) if kind in (None, call.kind))

    def between(self, start_s: float, end_s: float) -> list[Call]:
        """The calls that were sent in that time."""
        return [call for call in list(self.calls) if start_s <= call.sent_s < end_s]

    def in_flight_at(self, time_s: float) -> list[Call]:
        """The calls that were sent before and answered after a time; complete once the callers have stopped."""
        return [call for call in list(self.calls) if call.sent_s < time_s < call.done_s]

    def _ask(self, client: HttpClient) -> None:
        kind, data = self._draw()
        sent_s = time.perf_counter()
        try:
            reply = client.predict(self._model, data)
            is_answer, outcome = True, reply.error_code or JUDGED
            if outcome == JUDGED and reply.body["sha256"] != hashlib.sha256(data).hexdigest():
                is_answer, outcome = False, "wrong answer"
        except ClientError as error:
            is_answer, outcome = False, short(error)
        self.calls.append(Call(kind, sent_s, time.perf_counter(), outcome, is_answer))
        if not is_answer:
            self._callers.pause(PAUSE_AFTER_ERROR_S)


@dataclass(frozen=True)
class Load:
    """What is sent where.

    Attributes:
        server: its processes are watched.
        model: name on the server.
        clip: every upload is unlike any other, and decodes to what this file decodes to.
        scenario: what the runs are called.
        settings: what was set for them alone, noted in each.
    """

    server: TorchServe
    model: str
    clip: bytes
    scenario: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def closed(self, label: str, *, n_requests: int, n_callers: int = 1) -> Run:
        """So many requests by callers who wait for their answers."""
        n_callers = min(n_callers, n_requests)
        left = itertools.count(n_requests - n_callers, -1)  # next() of it is atomic
        samples: list[Sample] = []
        since_s = 0.0

        def ask(client: HttpClient) -> None:
            samples.append(self._ask(client, since_s, time.perf_counter() - since_s))

        clients = [self.server.http_client(retry=ONCE) for _ in range(n_callers)]
        callers = Callers(clients, ask, lambda: next(left) > 0)
        with self._watched() as watch:
            started_s, since_s = time.time(), time.perf_counter()
            callers.start()
            callers.wait()
            duration_s = time.perf_counter() - since_s
        usage = watch.between(started_s, started_s + duration_s)
        return self._run(label, duration_s, samples, usage=usage, n_callers=n_callers)

    def opened(self, label: str, *, n_requests: int, rate_hz: float, seed: int) -> Run:
        """So many Poisson arrivals; the same seed gives the same ones."""
        due_s = list(itertools.islice(poisson(rate_hz, random.Random(seed)), n_requests))
        local = threading.local()
        clients: list[HttpClient] = []

        def send(at_s: float, since_s: float) -> Sample:
            if not hasattr(local, "client"):
                local.client = self.server.http_client(retry=ONCE)
                clients.append(local.client)
            return self._ask(local.client, since_s, at_s)

        with self._watched() as watch, ThreadPoolExecutor(MAX_IN_FLIGHT) as callers:
            started_s, since_s = time.time(), time.perf_counter()
            found = []
            for at_s in due_s:
                time.sleep(max(0.0, at_s - (time.perf_counter() - since_s)))
                found.append(callers.submit(send, at_s, since_s))
            samples = [each.result() for each in found]
            duration_s = time.perf_counter() - since_s
        for client in clients:
            client.close()
        usage = watch.between(started_s, started_s + duration_s)
        return self._run(label, duration_s, samples, usage=usage, rate_hz=rate_hz)

    def _watched(self) -> Watch:
        process = self.server.process
        if process is None:
            raise psutil.NoSuchProcess(0, msg=f"the server of {self.model} is not running")
        return Watch(process.pid)

    def _ask(self, client: HttpClient, since_s: float, scheduled_s: float) -> Sample:
        upload = unique(self.clip)
        sent_s = time.perf_counter() - since_s
        answer: Mapping[str, Any] = {}
        try:
            reply = client.predict(self.model, upload)
            answer = reply.body
            outcome = reply.error_code or JUDGED
            if outcome == JUDGED and answer["sha256"] != hashlib.sha256(upload).hexdigest():
                outcome = "wrong answer"
        except ClientError as error:
            outcome = short(error)
        return Sample(
            self.model,
            "http",
            scheduled_s,
            sent_s,
            time.perf_counter() - since_s,
            outcome,
            answer.get("cache", ""),
            answer.get("timings_s", {}),
            answer.get("processing_time", 0.0),
        )

    def _run(self, label: str, duration_s: float, samples: list[Sample], **others: Any) -> Run:
        failed = sorted({sample.outcome for sample in samples if not sample.is_judged})
        problems = (f"some requests failed: {', '.join(failed)}",) if failed else ()
        return Run(
            self.scenario,
            label,
            self.model,
            duration_s,
            tuple(samples),
            settings=dict(self.settings),
            problems=problems,
            **others,
        )


def short(error: ClientError) -> str:
    """What went wrong with a call, in few words."""
    text = str(error)
    for status, meaning in (
        ("about to stop", "503 draining"),
        ("507", "507 worker died"),
        ("500: Worker died", "500 worker died"),
        ("queue of the model is full", "503 queue full"),
        ("refused", "connection refused"),
        ("reset", "connection reset"),
        ("aborted", "connection reset"),
        ("503", "503"),
    ):
        if status in text:
            return meaning
    return f"{type(error).__name__}: {text[:80]}"
