from __future__ import annotations

from types import SimpleNamespace

import pytest

from loadtest.queueing import Step, waited_s
from tests.http_server import Handler, Server, serving

METRICS = """
ts_queue_latency_microseconds{model_name="video",model_version="1.0",hostname="a",} 2500000.0
ts_queue_latency_microseconds{model_name="video",model_version="2.0",hostname="a",} 500000.0
ts_queue_latency_microseconds{model_name="audio",model_version="1.0",hostname="a",} 9.0E9
"""


def test_the_wait_is_that_of_all_versions_of_the_model_alone():
    class Metrics(Handler):
        def do_GET(self):
            self.reply(200, METRICS.encode())

    with serving(Server(Metrics)) as metrics:
        server = SimpleNamespace(metrics=metrics.address)
        assert waited_s(server, "video") == pytest.approx(3.0)
        assert waited_s(server, "audio") == pytest.approx(9_000.0)
        assert waited_s(server, "ensemble") == 0.0


def test_a_mean_wait_follows_from_the_number_waiting():
    run = SimpleNamespace(samples=[None] * 20, duration_s=10.0)
    assert Step(0.5, run, n_waiting=3.0).wait_s == pytest.approx(1.5)
