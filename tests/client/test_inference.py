"""What the clients put on the wire, against servers that only echo."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import ClassVar

import grpc
import pytest

from client.errors import KeyRefused, RateLimited, RequestFailed, ServerUnavailable, TimedOut
from client.inference import GrpcClient, HttpClient
from client.keys import NoKeys
from client.messages import SERVICE, message
from client.retry import ONCE, Retry
from tests.http_server import Handler, Server, serving

ODD_NAME = 'kl"öö"n\n名.mp4'


@pytest.fixture
def echo_http():
    """Answers a POST with its path, headers and body length; a body `bad` is refused."""

    class Echo(Handler):
        def do_POST(self):
            body = self.body()
            record = {"path": self.path, "headers": dict(self.headers.items()), "length": len(body)}
            if body == b"bad":
                record = {"error": {"code": "undecodable_media", "message": "", "status": 422}}
            self.reply(422 if body == b"bad" else 200, record)

    with serving(Server(Echo)) as server:
        yield server.address


@pytest.fixture
def echo_grpc():
    """Answers `Predictions` with its own request; input `bad` is refused."""

    def predictions(request, _):
        record = {
            "model": request.model_name,
            "version": request.model_version,
            "input": {key: value.decode() for key, value in request.input.items()},
        }
        if request.input["data"] == b"bad":
            record = {"error": {"code": "undecodable_media", "message": "", "status": 422}}
        if request.input["data"] == b"stopping":
            record = {"error": {"code": "draining", "message": "about to stop", "status": 503}}
        return message("PredictionResponse")(prediction=json.dumps(record).encode())

    method = grpc.unary_unary_rpc_method_handler(
        predictions,
        request_deserializer=message("PredictionsRequest").FromString,
        response_serializer=message("PredictionResponse").SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Predictions": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = GrpcClient(f"127.0.0.1:{port}", keys=NoKeys())
    yield client
    client.close()
    server.stop(None)


def test_http_sends_options_and_name_in_plain_ascii_headers(echo_http):
    reply = HttpClient(echo_http, keys=NoKeys()).predict(
        "video", b"abc", file_name=ODD_NAME, options={"frames": 3}, version="1.0"
    )
    headers = Message()
    for name, value in reply.body["headers"].items():
        assert value.isascii()
        headers[name] = value
    assert reply.body["path"] == "/predictions/video/1.0"
    assert reply.body["length"] == 3
    assert json.loads(headers["X-DeepDetect-Options"]) == {"frames": 3}
    assert headers.get_filename() == ODD_NAME
    assert headers.get_content_type() == "application/octet-stream"


def test_grpc_sends_options_and_name_as_inputs(echo_grpc):
    options = {"frames": 3, "modality": "video", "weights": {"video": 1}, "require_face": True}
    reply = echo_grpc.predict("video", b"abc", file_name=ODD_NAME, options=options, version="2.0")
    assert (reply.status, reply.error_code) == (200, None)
    assert (reply.body["model"], reply.body["version"]) == ("video", "2.0")
    assert reply.body["input"] == {
        "data": "abc",
        "file_name": ODD_NAME,
        "frames": "3",
        "modality": "video",
        "weights": '{"video": 1}',
        "require_face": "true",
    }


def test_a_refusal_reads_the_same_over_both(echo_http, echo_grpc):
    over_http, over_grpc = (
        client.predict("video", b"bad") for client in (HttpClient(echo_http, keys=NoKeys()), echo_grpc)
    )
    assert over_http == over_grpc
    assert (over_http.status, over_http.error_code) == (422, "undecodable_media")


class Scripted(Handler):
    """Gives the class's answers one after the other: (status, headers, body), or None to hang up; keeps the keys."""

    protocol_version = "HTTP/1.0"  # a connection for each request
    answers: ClassVar[list] = []
    keys_seen: ClassVar[list] = []

    def do_POST(self):
        self.body()
        self.keys_seen.append(self.headers["Authorization"])
        answer = self.answers.pop(0)
        if answer is None:
            self.connection.close()
            return
        status, headers, body = answer
        self.reply(status, body, headers)


class Rotating:
    """Another key after each refusal, up to a number of them."""

    def __init__(self, n_keys: int) -> None:
        self.index, self.n_keys = 0, n_keys

    def headers(self, scope: str) -> dict[str, str]:
        assert scope == "inference"
        return {"Authorization": f"Bearer {self.index}"}

    def rotated(self, headers: Mapping[str, str], scope: str) -> bool:
        self.index += 1
        return self.index < self.n_keys


ANSWER = (200, {}, {"prediction": "Real"})
BAD_KEY = (400, {}, {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed."})
FULL = (503, {}, {"code": 503, "type": "ServiceUnavailableException", "message": "the queue is full"})
QUICK = Retry(attempts=3, first_delay_s=0.01)


@pytest.fixture
def scripted():
    """A client of a server that says what it is told to: `scripted([answer, ...])`."""
    with serving(Server(Scripted)) as server:

        def client(answers: list, **options) -> HttpClient:
            Scripted.answers, Scripted.keys_seen = list(answers), []
            options = {"keys": NoKeys(), "retry": QUICK, "timeout_s": 30} | options
            return HttpClient(server.address, **options)

        yield client


@pytest.mark.parametrize("trouble", [None, FULL, (502, {}, {}), (429, {"Retry-After": "0"}, {})])
def test_what_may_pass_is_tried_again(scripted, trouble):
    assert scripted([trouble, trouble, ANSWER]).predict("video", b"abc").body == {"prediction": "Real"}


def test_a_full_queue_that_stays_full_is_an_error_of_its_own(scripted):
    with pytest.raises(ServerUnavailable, match="the queue is full"):
        scripted([FULL] * 3).predict("video", b"abc")
    assert Scripted.answers == []


def test_a_rate_limit_says_when_to_come_back(scripted):
    error = {"error": {"code": "rate_limited", "message": "too many requests", "status": 429}}
    with pytest.raises(RateLimited, match="too many requests") as caught:
        scripted([(429, {"Retry-After": "90"}, error)]).predict("video", b"abc")
    assert caught.value.retry_after_s == 90


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (
            (404, {}, {"code": 404, "type": "ModelNotFoundException", "message": "no such model"}),
            RequestFailed,
            "no such",
        ),
        ((413, {}, ""), RequestFailed, "413"),
        ((500, {}, {"code": 500, "type": "InternalServerException", "message": "Worker died."}), RequestFailed, "died"),
        ((504, {}, {}), TimedOut, "504"),
        ((401, {}, {"error": {"code": "unauthorized", "message": "no key", "status": 401}}), KeyRefused, "no key"),
        (BAD_KEY, KeyRefused, "Token Authorization failed"),
    ],
)
def test_what_will_not_pass_is_not_sent_twice(scripted, answer, error, text):
    with pytest.raises(error, match=text):
        scripted([answer, ANSWER]).predict("video", b"abc")
    assert Scripted.answers == [ANSWER]


def test_a_server_that_stops_is_unavailable_over_both(scripted, echo_grpc):
    stopping = (503, {}, {"error": {"code": "draining", "message": "about to stop", "status": 503}})
    echo_grpc.retry = QUICK
    for client in (scripted([stopping] * 3), echo_grpc):
        with pytest.raises(ServerUnavailable, match="about to stop"):
            client.predict("video", b"stopping")


def test_nobody_there():
    with pytest.raises(ServerUnavailable, match="127.0.0.1"):
        HttpClient("http://127.0.0.1:9", keys=NoKeys(), retry=QUICK).predict("video", b"abc")
    with pytest.raises(ServerUnavailable, match="127.0.0.1"):
        GrpcClient("127.0.0.1:9", keys=NoKeys(), retry=QUICK).predict("video", b"abc")


def test_a_slow_answer_is_not_asked_for_twice():
    asked = []

    class Slow(Scripted):
        def do_POST(self):
            asked.append(self.path)
            time.sleep(0.5)

    with serving(Server(Slow)) as server, pytest.raises(TimedOut):
        HttpClient(server.address, 0.1, keys=NoKeys()).predict("video", b"abc")
    assert asked == ["/predictions/video"]


def test_a_key_that_was_renewed_meanwhile_is_taken_up_at_once(scripted):
    client = scripted([BAD_KEY, ANSWER], keys=Rotating(2), retry=ONCE)
    assert client.predict("video", b"abc").status == 200
    assert Scripted.keys_seen == ["Bearer 0", "Bearer 1"]
    with pytest.raises(KeyRefused):
        scripted([BAD_KEY, BAD_KEY, ANSWER], keys=Rotating(9)).predict("video", b"abc")
    assert Scripted.answers == [ANSWER], "one more time, not for ever"
