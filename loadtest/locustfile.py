"""Load on a running server, over HTTP and gRPC at once; knows the wire alone.

    make serve
    .venv/bin/locust -f loadtest/locustfile.py --headless -u 4 -t 30s     figures on the terminal
    .venv/bin/locust -f loadtest/locustfile.py                            web page on port 8089
    .venv/bin/locust -f loadtest/locustfile.py --headless -u 4 -t 30s --processes 2
    .venv/bin/locust -f loadtest/locustfile.py --scenario mixed --clips build/loadtest/clips ...

A scenario of config/scenarios.yaml says what the load is like; `-u` how many callers there are. Every upload is
different, unless the scenario is about repeats, so no answer comes from a cache, and every answer is checked to be that
of its own upload, and what the reference says. A call that fails counts as failed: nothing is sent twice. Keys are
renewed on the way (see client/keys.py). In an open loop response times count from the time at which a request was
meant to be sent. docs/loadtest.md tells more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import gevent
import grpc.experimental.gevent as grpc_gevent
from gevent.pool import Group
from locust import FastHttpUser, User, constant, events, task
from locust.runners import WorkerRunner

from client.errors import ClientError, KeyRefused, RequestFailed
from client.inference import GrpcClient
from client.keys import find_keys, with_key
from client.messages import message
from client.reply import TORCHSERVE_KEY_ERROR
from client.retry import ONCE
from loadtest.measure.results import Sample
from loadtest.runner.load_loops import short
from loadtest.workload.recording import now
from loadtest.workload.scenario import SCENARIOS_FILE
from loadtest.workload.uploads import Upload, Work, chosen_scenario, outcome_of, problem_of

TIMEOUT_S = 120.0
TICK_S = 0.1  # a caller that waits looks so often whether it is to stop
KEYS = find_keys()


@events.init_command_line_parser.add_listener
def add_arguments(parser) -> None:
    """Adds our options to those of Locust."""
    # Paths as text: a master sends all options to its workers.
    parser.add_argument("--scenario", default="", help="section of the scenarios' file (a closed loop over both doors)")
    parser.add_argument("--scenarios", default=str(SCENARIOS_FILE), help="that file (config/scenarios.yaml)")
    parser.add_argument("--model", default="", help="ask this model alone, whomever the scenario asks")
    # A number, not None: the web page gives back what it was given the type of.
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second of an open loop (the scenario's)")
    parser.add_argument("--random-seed", type=int, default=1, help="of arrivals, files and models (%(default)s)")
    parser.add_argument("--clips", default="", help="folder of clips and reference, see loadtest.workload.reference")
    parser.add_argument("--clip", default="build/sample.mp4", help="without --clips: the file to send (%(default)s)")
    parser.add_argument("--samples", default="", help="folder to write every request to, one file a process")
    parser.add_argument("--once", action="store_true", help="end an open loop after the scenario's duration")
    parser.add_argument("--grpc-host", default="127.0.0.1:7070", help="address of the gRPC inference service")


@events.init.add_listener
def choose_callers(environment, **_) -> None:
    """Lets the scenario choose the kinds of callers."""
    grpc_gevent.init_gevent()  # here: after --processes has forked
    doors = chosen_scenario(environment.parsed_options).doors
    environment.user_classes = [kind for kind in environment.user_classes if doors.get(kind.door)]
    for kind in environment.user_classes:
        kind.weight = doors[kind.door]
    if GrpcCaller in environment.user_classes:
        message("PredictionsRequest")  # compiled now, for that takes all of this process a while


@events.test_start.add_listener
def begin(environment, **_) -> None:
    """Reads everything anew: from the web page a test may be started again with other options."""
    options = environment.parsed_options
    if not isinstance(environment.runner, WorkerRunner):
        options.n_callers = options.num_users or 1  # of all workers; a master does not send `num_users` itself
    environment.work = Work(options)


@events.test_stop.add_listener
def end(environment, **_) -> None:
    """Closes the recording of every request."""
    if environment.work.recorder:
        environment.work.recorder.close()


class Caller(User):
    """Sends what its source draws, over its own door."""

    abstract = True
    door = ""
    wait_time = constant(0)

    def on_start(self) -> None:
        self.work: Work = self.environment.work
        self.source = self.work.source(getattr(self.environment.runner, "worker_index", 0))
        self.in_flight = Group()
        self.arrivals = self.source.arrivals() if self.work.scenario.is_open else None
        self.upload = self.source.draw()
        self.started_s = now()
        self.due_s = next(self.arrivals, math.inf) if self.arrivals else 0.0
        if self.work.recorder:
            self.work.recorder.start(self.started_s)

    def on_stop(self) -> None:
        while self.arrivals and self.started_s + self.due_s < now():  # this process was too busy to send them
            if self.work.recorder:
                self.work.recorder.unsent(self.started_s + self.due_s)
            self.due_s = next(self.arrivals, math.inf)
        try:
            self.in_flight.join(timeout=self.environment.stop_timeout)
        finally:
            self.in_flight.kill()

    @task
    def judge(self) -> None:
        if self.arrivals is None:
            self.call(self.upload, now())
        else:
            wait_s = self.started_s + self.due_s - now()
            if wait_s > TICK_S:
                gevent.sleep(TICK_S)
                return
            gevent.sleep(max(0.0, wait_s))
            self.in_flight.spawn(self.call, self.upload, self.started_s + self.due_s)
            self.due_s = next(self.arrivals, math.inf)
        self.upload = self.source.draw()

    def call(self, upload: Upload, scheduled_s: float) -> None:
        """Sends one file, and writes down what became of it."""
        sent_s = now()
        answer: Mapping[str, Any] = {}
        outcome = "failed"
        try:
            answer = self.send(upload, scheduled_s)
            outcome = outcome_of(answer, upload)
        except ClientError as error:
            outcome = short(error)
        except gevent.GreenletExit:  # the test is over, and waited long enough
            outcome = "unfinished"
            raise
        finally:
            if self.work.recorder:
                self.work.recorder.sample(
                    Sample(
                        model=upload.model,
                        door=self.door,
                        scheduled_s=scheduled_s,
                        sent_s=sent_s,
                        done_s=now(),
                        outcome=outcome,
                        cache=answer.get("cache", ""),
                        timings_s=answer.get("timings_s", {}),
                        processing_s=answer.get("processing_time", 0.0),
                        expected=upload.expected_outcome,
                    )
                )

    def send(self, upload: Upload, scheduled_s: float) -> Mapping[str, Any]:
        """One request, told to Locust; returns the answer or the contract's error, else raises ClientError."""
        raise NotImplementedError


class HttpCaller(Caller, FastHttpUser):
    """Sends files as raw bodies."""

    door = "http"
    host = "http://127.0.0.1:8080"
    concurrency = 1_000  # connections of one caller; an open loop has as many requests in flight as it must
    network_timeout = TIMEOUT_S

    def send(self, upload: Upload, scheduled_s: float) -> Mapping[str, Any]:
        def post(key: Mapping[str, str]) -> Mapping[str, Any]:
            headers = {"Content-Type": "application/octet-stream", **key}
            call = self.client.post(
                f"/predictions/{upload.model}", data=upload.data, headers=headers, catch_response=True
            )
            with call as response:
                response.request_meta["response_time"] = 1e3 * (now() - scheduled_s)
                error = answer = None
                try:
                    answer = _answer(response)
                    problem = problem_of(answer, upload)
                except ClientError as caught:
                    error, problem = caught, short(caught)
                if isinstance(error, KeyRefused):  # sent again, if there is another key by now
                    response.request_meta["name"] = "refused, for the key was renewed meanwhile"
                    problem = None
                response.failure(problem) if problem else response.success()
            if error:
                raise error
            return answer

        return with_key(KEYS, "inference", post)


def _answer(response: Any) -> Mapping[str, Any]:
    """The body of an answer in the request contract; raises where TorchServe speaks for itself, or nobody does."""
    if not response.status_code:
        raise RequestFailed(0, str(response.error))
    try:
        body = json.loads(response.text)
    except ValueError:
        raise RequestFailed(response.status_code, "no JSON") from None
    if body.get("type") == TORCHSERVE_KEY_ERROR:
        raise KeyRefused(body["message"])
    if "sha256" in body or isinstance(body.get("error"), dict):
        return body
    raise RequestFailed(response.status_code, body.get("message", "no answer in the contract"))


class GrpcCaller(Caller):
    """Sends files with `Predictions`."""

    door = "grpc"

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.client = GrpcClient(options.grpc_host, timeout_s=TIMEOUT_S, keys=KEYS, retry=ONCE)
        super().on_start()

    def on_stop(self) -> None:
        super().on_stop()
        self.client.close()

    def send(self, upload: Upload, scheduled_s: float) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = {}
        failure: Exception | None = None
        try:
            answer = self.client.predict(upload.model, upload.data).body
            problem = problem_of(answer, upload)
            failure = RuntimeError(problem) if problem else None
            return answer
        except ClientError as error:
            failure = error
            raise
        finally:
            self.environment.events.request.fire(
                request_type="gRPC",
                name=f"Predictions {upload.model}",
                response_time=1e3 * (now() - scheduled_s),
                response_length=len(json.dumps(answer)),
                exception=failure,
            )
