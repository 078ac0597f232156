"""Short runs in this process, for what measures many settings in turns: Locust alone takes seconds to start.

Callers are threads. In a closed loop each asks again when it has its answer; in an open one requests are sent when
they are due, whatever became of the ones before, and latency counts from then.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from client.errors import ClientError
from client.inference import HttpClient
from client.padding import unique
from client.retry import ONCE
from loadtest.measure.results import JUDGED, Run, Sample
from loadtest.measure.usage import Watch
from loadtest.traffic import short
from loadtest.workload.arrivals import poisson
from operations.server import TorchServe

MAX_IN_FLIGHT = 64  # of an open loop; a request that has no caller left is late, and counts as late


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
        left = itertools.count(n_requests, -1)  # next() of it is atomic

        def caller(since_s: float) -> list[Sample]:
            samples = []
            with self._client() as client:
                while next(left) > 0:
                    samples.append(self._ask(client, since_s, time.perf_counter() - since_s))
            return samples

        with self._watched() as watch, ThreadPoolExecutor(n_callers) as callers:
            started_s, since_s = time.time(), time.perf_counter()
            found = [callers.submit(caller, since_s) for _ in range(n_callers)]
            samples = [sample for each in found for sample in each.result()]
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

    @contextmanager
    def _client(self) -> Iterator[HttpClient]:
        client = self.server.http_client(retry=ONCE)
        try:
            yield client
        finally:
            client.close()

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
