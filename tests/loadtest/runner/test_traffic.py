"""The callers of the load tests, against an HTTP server that misbehaves as it is told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import pytest

from client.inference import HttpClient
from client.keys import NoKeys
from client.padding import unique
from client.retry import ONCE
from loadtest.measure.results import percentile
from loadtest.runner.load_loops import Traffic
from tests.http_server import Handler, Server, serving

CLIP = b"clip"


class Answers(Handler):
    """Answers what the body asks for."""

    def do_POST(self):
        data = self.body()
        status, body = {
            b"refused": (422, {"error": {"code": "too_long", "message": "x", "status": 422}}),
            b"full": (503, {"message": 'Model "a" has no worker to serve inference request. And so on.'}),
            b"dead": (507, {"message": "Worker died."}),
            b"stopping": (
                503,
                {"error": {"code": "draining", "message": "the server is about to stop", "status": 503}},
            ),
            b"mixed up": (200, {"sha256": "0"}),
        }.get(data, (200, {"sha256": hashlib.sha256(data).hexdigest()}))
        self.reply(status, body)


@pytest.fixture
def address() -> Iterator[str]:
    with serving(Server(Answers)) as server:
        yield server.address


@pytest.mark.parametrize(
    ("body", "outcome", "is_answer"),
    [
        (b"a clip", "judged", True),
        (b"refused", "too_long", True),
        (b"full", "503 queue full", False),
        (b"dead", "507 worker died", False),
        (b"stopping", "503 draining", False),
        (b"mixed up", "wrong answer", False),
    ],
)
def test_what_became_of_each_call(address: str, body: bytes, outcome: str, is_answer: bool):
    client = lambda: HttpClient(address, keys=NoKeys(), retry=ONCE)  # noqa: E731
    started_s = time.perf_counter()
    with Traffic(client, lambda: ("kind", body), "video", n_callers=2) as traffic:
        while len(traffic.calls) < 4:
            time.sleep(0.01)
        middle_s = time.perf_counter()
    assert set(traffic.outcomes("kind")) == {outcome}
    assert {call.is_answer for call in traffic.calls} == {is_answer}
    assert not traffic.outcomes("another kind")
    assert len(traffic.between(started_s, time.perf_counter())) == len(traffic.calls)
    assert all(call.sent_s < middle_s < call.done_s for call in traffic.in_flight_at(middle_s))


def test_nobody_there(address: str):
    client = lambda: HttpClient("http://127.0.0.1:9", keys=NoKeys(), retry=ONCE)  # noqa: E731
    with Traffic(client, lambda: ("good", CLIP), "video", n_callers=1) as traffic:
        while not traffic.calls:
            time.sleep(0.01)
    assert set(traffic.outcomes()) == {"connection refused"}


def test_each_upload_is_unlike_the_others():
    assert unique(CLIP) != unique(CLIP)
    assert unique(CLIP).startswith(CLIP)


def test_percentile():
    assert percentile([], 0.95) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(100), 0.95) == 95
