"""Closed-loop load: a fixed number of requests in flight, each answered before the next is sent in its place."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from loadtest.measure.results import percentile
from loadtest.runner.load_loops import Callers

TIMEOUT_S = 120.0
SETTLE_S = 0.2  # after the last answer servers still write logs and metrics of it


class PeerError(RuntimeError):
    """A server did not start, or did not answer as it should."""


@dataclass(frozen=True)
class Target:
    """Where to send a body.

    Attributes:
        port: on 127.0.0.1.
        path: of the URL.
        headers: besides those of HTTP itself.
    """

    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)

    def post(self, connection: http.client.HTTPConnection, body: bytes) -> bytes:
        """The body of the answer; raises PeerError where its status is not 200."""
        headers = {"Content-Type": "application/octet-stream", **self.headers}
        connection.request("POST", self.path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise PeerError(f"status {response.status} of port {self.port}: {answer[:300].decode(errors='replace')}")
        return answer


@dataclass(frozen=True)
class Window:
    """What was seen while one server was under load.

    Attributes:
        latencies_ms: of every request, in the order of their answers.
        elapsed_s: from the first request to the last answer.
        cpu_s: CPU seconds of the server's whole process tree meanwhile, and `SETTLE_S` after.
        answers: their bodies.
    """

    latencies_ms: list[float]
    elapsed_s: float
    cpu_s: float
    answers: list[bytes] = field(repr=False)

    @property
    def n_requests(self) -> int:
        return len(self.latencies_ms)

    @property
    def rate_rps(self) -> float:
        return self.n_requests / self.elapsed_s

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a request."""
        return 1e3 * self.cpu_s / self.n_requests

    def percentile_ms(self, share: float) -> float:
        return percentile(self.latencies_ms, share)


def closed_loop(
    target: Target, make_payload: Callable[[], bytes], n_in_flight: int, seconds: float, cpu_s: Callable[[], float]
) -> Window:
    """Keeps `n_in_flight` requests under way for some seconds, each caller on a connection that it keeps.

    Args:
        seconds: after which no further request is sent; each caller sends one in any case.
        cpu_s: CPU seconds that the server has used so far.

    Raises:
        PeerError: an answer was not 200, or a caller lost its connection.
    """
    latencies_ms: list[float] = []
    answers: list[bytes] = []
    connections = [target.connect() for _ in range(n_in_flight)]
    for connection in connections:
        connection.connect()

    def ask(connection: http.client.HTTPConnection) -> None:
        body = make_payload()
        sent_s = time.perf_counter()
        answer = target.post(connection, body)
        latencies_ms.append(1e3 * (time.perf_counter() - sent_s))
        answers.append(answer)

    before_s = cpu_s()
    started_s = time.perf_counter()
    callers = Callers(connections, ask, lambda: time.perf_counter() < started_s + seconds)
    callers.start()
    try:
        callers.wait()
    except (OSError, http.client.HTTPException) as error:
        raise PeerError(f"port {target.port}: {error!r}") from None
    elapsed_s = time.perf_counter() - started_s
    time.sleep(SETTLE_S)
    return Window(latencies_ms, elapsed_s, cpu_s() - before_s, answers)
