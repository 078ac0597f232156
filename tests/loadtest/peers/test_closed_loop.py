"""The client that all candidates share, against a server of a few lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from loadtest.peers.closed_loop import PeerError, Target, Window, closed_loop
from tests.http_server import Handler, Server, serving

ANSWER_S = 0.02


class Recorder(Server):
    """Answers each body with itself, and notes what came and how many were under way."""

    def __init__(self) -> None:
        super().__init__(Answering)
        self.bodies: list[bytes] = []
        self.keys: set[str | None] = set()
        self.connections: set[tuple] = set()
        self.n_under_way = self.most_under_way = 0
        self.fails_from = 10**9
        self.lock = threading.Lock()


class Answering(Handler):
    def do_POST(self) -> None:
        server: Recorder = self.server
        with server.lock:
            server.n_under_way += 1
            server.most_under_way = max(server.most_under_way, server.n_under_way)
        body = self.body()
        time.sleep(ANSWER_S)
        with server.lock:
            server.n_under_way -= 1
            server.bodies.append(body)
            server.keys.add(self.headers["Authorization"])
            server.connections.add(self.client_address)
            status = 200 if len(server.bodies) <= server.fails_from else 503
        self.reply(status, body)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with serving(Recorder()) as server:
        yield server


def target(server: Recorder) -> Target:
    return Target(server.server_address[1], "/predict", {"Authorization": "Bearer k"})


def numbered():
    numbers = count()
    return lambda: f"body {next(numbers)}".encode()


def test_as_many_requests_are_under_way_as_asked_for_each_with_a_body_of_its_own(recorder):
    window = closed_loop(target(recorder), numbered(), n_in_flight=4, seconds=0.3, cpu_s=lambda: 0.0)
    assert recorder.most_under_way == 4
    assert len(recorder.connections) == 4  # they are kept
    assert recorder.keys == {"Bearer k"}
    assert window.n_requests == len(recorder.bodies) == len(set(recorder.bodies)) > 4
    assert sorted(window.answers) == sorted(recorder.bodies)
    assert min(window.latencies_ms) >= 1e3 * ANSWER_S


def test_without_time_each_caller_sends_one(recorder):
    assert closed_loop(target(recorder), numbered(), 3, seconds=0.0, cpu_s=lambda: 0.0).n_requests == 3


def test_a_refusal_ends_the_turn_and_is_told(recorder):
    recorder.fails_from = 3
    with pytest.raises(PeerError, match="status 503"):
        closed_loop(target(recorder), numbered(), 2, seconds=5.0, cpu_s=lambda: 0.0)
    assert len(recorder.bodies) < 8


def test_cpu_time_is_what_the_server_used_meanwhile(recorder):
    seconds = iter([10.0, 10.6])
    window = closed_loop(target(recorder), numbered(), 1, seconds=0.1, cpu_s=lambda: next(seconds))
    assert window.cpu_s == pytest.approx(0.6)


def test_rates_and_shares_of_a_window():
    window = Window(latencies_ms=[float(value) for value in range(1, 101)], elapsed_s=4.0, cpu_s=0.5, answers=[])
    assert window.rate_rps == 25.0
    assert window.cpu_ms == 5.0
    assert window.percentile_ms(0.5) == 51.0
    assert window.percentile_ms(0.95) == 96.0
