"""Reports are written after the answers, and none is left out."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from ts.context import Context, RequestProcessor

from handlers.reporter import Reporter
from handlers.request import Request
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.engine import Item

ENGINE = SimpleNamespace(name="echo", version="1.0", cache=None)
REQUEST = Request([Item(b"abc")])
REFUSAL = DetectionError(ErrorCode.NO_FACE, "no face")


class Recorder:
    """Notes what it is given to record, and in which thread."""

    def __init__(self) -> None:
        self.batches, self.threads, self.has_some = [], set(), threading.Event()

    def announce(self) -> None: ...

    def start_beating(self, cache_stats) -> None: ...

    def record(self, batches) -> None:
        self.batches += batches
        self.threads.add(threading.current_thread().name)
        self.has_some.set()


def report(reporter: Reporter, duration_s: float) -> None:
    context = Context("echo", "", {}, 1, None, "0.12.0")
    context.request_processor = [RequestProcessor({"Host": "localhost"})]
    context.request_ids = {0: "id-1"}
    context.set_response_status(422, "Unprocessable Entity", 0)
    reporter.report(context, [REQUEST], [[REFUSAL]], duration_s)


def test_batches_are_reported_in_order_with_what_was_true_when_they_were_answered():
    recorder = Recorder()
    reporter = Reporter(ENGINE, recorder)
    report(reporter, 0.5)
    report(reporter, 0.2)
    assert not recorder.batches
    reporter.flush()
    assert [batch.duration_s for batch in recorder.batches] == [0.5, 0.2]
    (exchange,) = recorder.batches[0].exchanges
    assert (exchange.request_id, exchange.status, exchange.sizes_bytes) == ("id-1", 422, [3])
    assert recorder.batches[0].arrived_s < recorder.batches[1].arrived_s
    reporter.flush()
    assert len(recorder.batches) == 2


def test_a_started_reporter_reports_by_itself_and_in_a_thread_of_its_own():
    recorder = Recorder()
    reporter = Reporter(ENGINE, recorder)
    reporter.start()
    report(reporter, 0.5)
    assert recorder.has_some.wait(30)
    assert recorder.threads == {"reports"}
