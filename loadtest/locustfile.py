"""Load on a running server, over HTTP and gRPC at once; knows the wire alone.

    make serve
    .venv/bin/locust -f loadtest/locustfile.py --headless -u 4 -t 30s     figures on the terminal
    .venv/bin/locust -f loadtest/locustfile.py                            web page on port 8089

Every upload is different, so no answer comes from a cache, and every answer is
checked to be that of its own upload. A call that fails counts as failed: nothing
is sent twice. Keys are renewed on the way (see client/keys.py).
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import grpc.experimental.gevent as grpc_gevent
from locust import FastHttpUser, User, constant, events, task

from client.errors import ClientError
from client.inference import GrpcClient
from client.keys import find_keys
from client.padding import unique
from client.reply import TORCHSERVE_KEY_ERROR
from client.retry import ONCE

grpc_gevent.init_gevent()
KEYS = find_keys()


@events.init_command_line_parser.add_listener
def add_arguments(parser) -> None:
    parser.add_argument("--clip", type=Path, default=Path("build/sample.mp4"), help="file to upload")
    parser.add_argument("--model", default="ensemble", help="video, audio or ensemble")
    parser.add_argument("--grpc-host", default="127.0.0.1:7070", help="address of the gRPC inference service")


def wrong(answer: dict, upload: bytes) -> str | None:
    """What is wrong with an answer, if anything."""
    if "error" in answer:
        return f"{answer['error']['code']}: {answer['error']['message']}"
    if answer["sha256"] != hashlib.sha256(upload).hexdigest():
        return "the answer belongs to another upload"
    return None


class HttpCaller(FastHttpUser):
    """Sends the clip as a raw body."""

    host = "http://127.0.0.1:8080"
    wait_time = constant(0)

    def on_start(self) -> None:
        self.clip = self.environment.parsed_options.clip.read_bytes()

    @task
    def judge(self) -> None:
        upload = unique(self.clip)
        model = self.environment.parsed_options.model
        key = KEYS.headers("inference")
        headers = {"Content-Type": "application/octet-stream", **key}
        with self.client.post(f"/predictions/{model}", data=upload, headers=headers, catch_response=True) as response:
            try:
                problem = wrong(json.loads(response.text), upload)
            except (TypeError, ValueError):
                problem = f"status {response.status_code}, and no JSON"
            if TORCHSERVE_KEY_ERROR in (response.text or "") and KEYS.rotated(key, "inference"):
                response.request_meta["name"] = "refused, for the key was renewed meanwhile"
                response.success()
            elif problem:
                response.failure(problem)


class GrpcCaller(User):
    """Sends the clip with `Predictions`."""

    wait_time = constant(0)

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.clip = options.clip.read_bytes()
        self.client = GrpcClient(options.grpc_host, keys=KEYS, retry=ONCE)

    def on_stop(self) -> None:
        self.client.close()

    @task
    def judge(self) -> None:
        upload = unique(self.clip)
        model = self.environment.parsed_options.model
        started = time.perf_counter()
        answer, failure = {}, None
        try:
            answer = self.client.predict(model, upload).body
            problem = wrong(answer, upload)
            failure = RuntimeError(problem) if problem else None
        except ClientError as error:
            failure = error
        self.environment.events.request.fire(
            request_type="gRPC",
            name=f"Predictions {model}",
            response_time=(time.perf_counter() - started) * 1_000,
            response_length=len(json.dumps(answer)),
            exception=failure,
        )
