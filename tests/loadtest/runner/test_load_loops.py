"""Short runs, against a small HTTP server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from client.inference import HttpClient
from client.keys import NoKeys
from loadtest.runner.load_loops import Load
from tests.http_server import Handler, Server, serving


class Judge(Server):
    """Judges every upload; every third one is refused, if it is told so."""

    refuses = False
    n_asked = 0


class Answer(Handler):
    def do_POST(self):
        data = self.body()
        self.server.n_asked += 1
        status, body = (
            200,
            {
                "sha256": hashlib.sha256(data).hexdigest(),
                "cache": "miss",
                "timings_s": {"decode": 0.001},
                "processing_time": 0.002,
            },
        )
        if self.server.refuses and self.server.n_asked % 3 == 0:
            status, body = 422, {"error": {"code": "too_long", "message": "x", "status": 422}}
        self.reply(status, body)


@dataclass
class Served:
    """As much of a TorchServe as a load asks of it: clients, and the process to watch."""

    address: str

    def http_client(self, **options) -> HttpClient:
        return HttpClient(self.address, keys=NoKeys(), **options)

    @property
    def process(self) -> psutil.Process:
        return psutil.Process()


@pytest.fixture
def judge() -> Iterator[Judge]:
    with serving(Judge(Answer)) as server:
        yield server


@pytest.fixture
def load(judge) -> Load:
    return Load(Served(judge.address), "video", b"clip", "tune", {"batch_size": 4})


def test_a_closed_loop_asks_as_often_as_it_is_told(load, judge):
    run = load.closed("one", n_requests=20, n_callers=4)
    assert len(run.samples) == judge.n_asked == 20
    assert (run.n_callers, run.rate_hz, run.settings) == (4, None, {"batch_size": 4})
    assert run.problems == ()
    assert run.throughput_hz > 0
    assert run.cpu_ms >= 0
    sample = run.samples[0]
    assert sample.timings_s == {"decode": 0.001}
    assert (sample.cache, sample.processing_s) == ("miss", 0.002)
    assert all(each.scheduled_s <= each.sent_s < each.done_s for each in run.samples)


def test_an_open_loop_sends_when_requests_are_due(load, judge):
    run = load.opened("one", n_requests=20, rate_hz=200.0, seed=3)
    assert len(run.samples) == judge.n_asked == 20
    due_s = [each.scheduled_s for each in run.samples]
    assert due_s == sorted(due_s)
    assert all(each.sent_s >= each.scheduled_s for each in run.samples)
    again = load.opened("two", n_requests=20, rate_hz=200.0, seed=3)
    assert [each.scheduled_s for each in again.samples] == due_s
    assert load.opened("three", n_requests=20, rate_hz=200.0, seed=4).samples[0].scheduled_s != due_s[0]


def test_what_failed_is_a_problem_of_the_run(load, judge):
    judge.refuses = True
    run = load.closed("one", n_requests=6)
    assert run.outcomes == {"judged": 4, "too_long": 2}
    assert run.problems == ("some requests failed: too_long",)
