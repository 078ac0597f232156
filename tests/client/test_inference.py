"""What the clients put on the wire, against servers that only echo."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest

from client.inference import SERVICE, GrpcClient, HttpClient, _message

ODD_NAME = 'kl"öö"n\n名.mp4'


@pytest.fixture
def echo_http():
    """Answers a POST with its path, headers and body length; a body `bad` is refused."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            record = {"path": self.path, "headers": dict(self.headers.items()), "length": len(body)}
            if body == b"bad":
                record = {"error": {"code": "undecodable_media", "message": "", "status": 422}}
            self.send_response(422 if body == b"bad" else 200)
            self.end_headers()
            self.wfile.write(json.dumps(record).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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
        return _message("PredictionResponse")(prediction=json.dumps(record).encode())

    method = grpc.unary_unary_rpc_method_handler(
        predictions,
        request_deserializer=_message("PredictionsRequest").FromString,
        response_serializer=_message("PredictionResponse").SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Predictions": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = GrpcClient(f"127.0.0.1:{port}")
    yield client
    client.close()
    server.stop(None)


def test_http_sends_options_and_name_in_plain_ascii_headers(echo_http):
    reply = HttpClient(echo_http).predict("video", b"abc", file_name=ODD_NAME, options={"frames": 3}, version="1.0")
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
    over_http, over_grpc = (client.predict("video", b"bad") for client in (HttpClient(echo_http), echo_grpc))
    assert over_http == over_grpc
    assert (over_http.status, over_http.error_code) == (422, "undecodable_media")
