"""The handler between TorchServe and an engine: order, statuses, and faults that stay where they are."""

from __future__ import annotations

import gzip
import json
import os
import threading
from types import SimpleNamespace

import pytest
from ts.context import Context, RequestProcessor

from handlers.base import DRAIN_MARK, DetectionHandler
from handlers.reporter import Reporter
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from operations import server

BAD = DetectionError(ErrorCode.UNDECODABLE_MEDIA, "line\nfeed \u2014 and more")


class EchoEngine:
    """Answers with the file's text; `bad` is refused, `crash` breaks the whole batch."""

    name, version, n_stuck = "echo", "1.0", 0
    limits = Limits(max_bytes=1_000)
    predictors = {"audio": SimpleNamespace(artifact=SimpleNamespace(variant="int8"))}

    def detect_batch(self, items):
        if any(item.data == b"crash" for item in items):
            raise RuntimeError("boom")
        return [BAD if item.data == b"bad" else {"text": item.data.decode()} for item in items]


@pytest.fixture
def handler() -> DetectionHandler:
    handler = DetectionHandler()
    handler.engine = EchoEngine()
    handler.manifest = {"digest": "abc"}
    return handler


def context(*headers: dict) -> Context:
    context = Context("echo", "", {}, 1, None, "0.12.0")
    context.request_processor = [RequestProcessor(dict(each)) for each in headers]
    return context


def handle(handler: DetectionHandler, *bodies: bytes) -> list[tuple[int, dict]]:
    batch = context(*({"Host": "localhost"} for _ in bodies))
    texts = handler.handle([{"body": bytearray(body)} for body in bodies], batch)
    return [(batch.get_response_status(index)[0], json.loads(text)) for index, text in enumerate(texts)]


def test_each_request_of_a_batch_stands_or_falls_alone(handler):
    assert handle(handler, b"a", b"bad", b"", b"d") == [
        (200, {"text": "a"}),
        (422, BAD.to_dict()),
        (400, {"error": {"code": "empty_body", "message": EMPTY, "status": 400}}),
        (200, {"text": "d"}),
    ]


EMPTY = "the body is empty; a video or audio file is expected"


def test_an_engine_that_breaks_costs_no_worker(handler):
    statuses = [status for status, _ in handle(handler, b"a", b"crash")]
    assert statuses == [500, 500]


def test_phrase_and_headers_hold_nothing_of_the_callers(handler):
    batch = context({"Host": "localhost"})
    handler.handle([{"body": bytearray(b"bad")}], batch)
    assert batch.get_response_status(0) == (422, "Unprocessable Entity")
    assert batch.get_response_headers(0) == {"content-type": "application/json"}


def test_a_worker_with_too_many_threads_that_hang_answers_and_then_ends_itself(handler, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr("handlers.base.RETIRE_AFTER_S", 0.0)
    monkeypatch.setattr("os._exit", lambda status: ended.set())
    handler.max_stuck_threads = 2
    for handler.engine.n_stuck in (0, 1):
        handle(handler, b"a")
        assert not ended.wait(0.05)
    handler.engine.n_stuck = 2
    assert handle(handler, b"a") == [(200, {"text": "a"})]
    assert ended.wait(10)


def test_several_files_in_one_request_do_not_shift_the_next_one(handler):
    batch = context({"Host": "localhost"}, {"Host": "localhost"})
    rows = [{"body": {"instances": ["YQ==", "Yg=="]}}, {"body": bytearray(b"c")}]
    first, second = (json.loads(text) for text in handler.handle(rows, batch))
    assert first == {"predictions": [{"text": "a"}, {"text": "b"}]}
    assert second == {"text": "c"}


def test_grpc_streams_are_told_to_end_and_carry_the_request_id(handler):
    batch = context({"data": {"content-type": ""}})
    batch.request_ids = {0: "id-1"}
    (body,) = handler.handle([{"data": bytearray(b"a")}], batch)
    assert batch.get_response_headers(0)["ts_stream_next"] == "false"
    assert json.loads(body) == {"request_id": "id-1", "text": "a"}


def test_a_fault_in_the_metrics_costs_no_answer(handler, caplog):
    handler.reporter = Reporter(handler.engine, None)
    assert handle(handler, b"bad") == [(422, BAD.to_dict())]
    handler.reporter.flush()
    assert "could not be reported" in caplog.text


def test_a_describe_request_gets_the_archives_manifest_and_the_worker(handler):
    (text,) = handler.handle([{}], context({"describe": "True"}))
    told = json.loads(text)
    assert told.pop("limits")["max_bytes"] == handler.engine.limits.max_bytes
    assert told == {"digest": "abc", "worker": {"pid": os.getpid(), "variants": {"audio": "int8"}}}


def test_a_server_that_is_about_to_stop_turns_away_what_comes(handler, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert DRAIN_MARK == server.DRAIN_MARK
    assert handle(handler, b"a") == [(200, {"text": "a"})]
    (tmp_path / DRAIN_MARK).touch()
    assert [(status, body["error"]["code"]) for status, body in handle(handler, b"a", b"")] == [
        (503, "draining"),
        (400, "empty_body"),
    ]


def test_readiness_is_told_by_a_worker_until_the_server_is_about_to_stop(handler, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told = []
    for _ in range(2):
        batch = context({"X-DeepDetect-Probe": "v2-ready"}, {"Host": "localhost"})
        ready, judged = handler.handle([{"body": bytearray()}, {"body": bytearray(b"a")}], batch)
        told.append((batch.get_response_status(0)[0], json.loads(ready), json.loads(judged).get("text")))
        (tmp_path / DRAIN_MARK).touch()
    assert told == [(200, {"name": "echo", "ready": True}, "a"), (503, {"name": "echo", "ready": False}, None)]


def test_a_compressed_body_is_unpacked_and_never_beyond_the_limit(handler):
    def send(content: bytes, encoding: str) -> tuple[int, dict]:
        batch = context({"Content-Encoding": encoding})
        (text,) = handler.handle([{"body": bytearray(content)}], batch)
        return batch.get_response_status(0)[0], json.loads(text)

    assert send(gzip.compress(b"abc"), "gzip") == (200, {"text": "abc"})
    status, refused = send(gzip.compress(bytes(64 * 2**20)), "gzip")
    assert (status, refused["error"]["code"]) == (413, "too_large")


def test_binary_output_is_announced_by_its_header(handler):
    body = {"inputs": [{"name": "data", "shape": [1], "datatype": "BYTES", "data": ["YQ=="]}]}
    batch = context({"Host": "localhost"})
    (answer,) = handler.handle([{"body": body | {"parameters": {"binary_data_output": True}}}], batch)
    headers = batch.get_response_headers(0)
    assert headers["content-type"] == "application/octet-stream"
    json_length = int(headers["Inference-Header-Content-Length"])
    assert answer[json_length:] == b"\x0d\0\0\0" + b'{"text": "a"}'
