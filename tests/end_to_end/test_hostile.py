"""Hostile files by the hundred between good ones: no worker dies, no neighbour is touched, all are refused by name."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from rich.console import Console
from rich.table import Table

from client.inference import HttpClient
from client.reply import Reply
from client.retry import ONCE
from model_defs.errors import ErrorCode
from model_defs.limits import Limits
from operations.server import TorchServe
from tests.hostile.corpus import crafted, json_bodies, mutated
from tests.hostile.references import references

N_MUTATED = 150
SEED = 20_261_124
N_CALLERS = 6
GRPC_EVERY = 5  # one over gRPC for so many over HTTP
GOOD_EVERY = 8  # one good request for so many hostile ones
MODELS = ("ensemble", "video", "audio")
OPTIONS = {"frames": 2}


@pytest.fixture
def client(server: TorchServe) -> HttpClient:
    """A client that shows every error instead of trying again."""
    return server.http_client(retry=ONCE)


@pytest.fixture
def good(clip, client) -> tuple[bytes, dict[str, dict]]:
    """A good file, and what each model says of it."""
    data = clip()
    return data, {model: client.predict(model, data, options=OPTIONS).body for model in MODELS}


def test_the_corpus_is_served_or_refused_by_name(server, client, over_grpc, good, capsys):
    files = [
        *crafted(),
        *references("/etc/hostname", "127.0.0.1:9"),
        *mutated(N_MUTATED, SEED),
    ]
    assert len(files) >= 200
    data, verdicts = good
    pids, numbers, lock = _pids(server), itertools.count(), threading.Lock()
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []

    def send(index: int) -> None:
        model = MODELS[index % len(MODELS)]
        name, file = files[index]
        caller = over_grpc if index % GRPC_EVERY == 0 else client
        problem = _problem(reply := caller.predict(model, file, options=OPTIONS))
        with lock:
            outcomes[reply.error_code or "judged"] += 1
            if problem:
                wrong.append(f"{model}, {name}: {problem}")
        if index % GOOD_EVERY == 0:
            unlike = data + (16).to_bytes(4, "big") + b"free" + next(numbers).to_bytes(8, "big")
            answer = client.predict(model, unlike, options=OPTIONS).body
            with lock:
                outcomes["good, as ever"] += 1
                if not _same(answer, verdicts[model], unlike):
                    wrong.append(f"{model}, a good file beside {name}: {answer}")

    with ThreadPoolExecutor(N_CALLERS) as callers:
        list(callers.map(send, range(len(files))))
    with capsys.disabled():
        _print(f"{len(files)} hostile files, {outcomes['good, as ever']} good ones", outcomes)
    assert not wrong
    assert _pids(server) == pids
    assert outcomes["good, as ever"] >= len(files) // GOOD_EVERY


def test_hostile_json_is_refused_by_name(server, good, capsys):
    data, _ = good
    pids, outcomes = _pids(server), Counter()
    for name, body in json_bodies(data):
        reply = _post(server, body)
        assert _problem(reply) is None, name
        outcomes[reply.error_code or "judged"] += 1
    with capsys.disabled():
        _print("hostile JSON", outcomes)
    assert outcomes["bad_request"] >= 10
    assert _pids(server) == pids


def test_more_bytes_than_allowed_are_refused_at_each_door(server, client, good):
    """A little over `max_bytes` reaches the handler; a body over `max_request_size` is TorchServe's own 413."""
    data, verdicts = good
    pids = _pids(server)
    reply = client.predict("audio", bytes(Limits().max_bytes + 1))
    assert (reply.status, reply.error_code) == (413, "too_large")
    assert "max_bytes" in reply.body["error"]["message"]

    def endless():
        while True:
            yield bytes(2**20)

    try:
        response = requests.post(
            f"{server.inference}/predictions/audio",
            data=endless(),
            headers=server.keys.headers("inference"),
            timeout=60,
        )
        assert response.status_code == 413
    except requests.ConnectionError:
        pass  # it hangs up on an upload that goes on
    assert _same(client.predict("audio", data, options=OPTIONS).body, verdicts["audio"], data)
    assert _pids(server) == pids


def _problem(reply: Reply) -> str | None:
    """What is wrong with a reply to a hostile file: it must be an answer, or a documented code with its status."""
    if reply.error_code is None:
        p_fake = reply.body["probabilities"]["fake"] if "probabilities" in reply.body else 0.0
        return None if reply.status == 200 and 0 <= p_fake <= 1 else f"status {reply.status}: {reply.body}"
    documented = {code.value: code.status for code in ErrorCode if code is not ErrorCode.INTERNAL}
    return None if documented.get(reply.error_code) == reply.status else f"status {reply.status}: {reply.body}"


def _same(answer: dict, verdict: dict, data: bytes) -> bool:
    parts = ("prediction", "probabilities", "modalities")
    return answer.get("sha256") == hashlib.sha256(data).hexdigest() and all(
        answer.get(part) == verdict[part] for part in parts
    )


def _post(server: TorchServe, body: bytes) -> Reply:
    response = requests.post(
        f"{server.inference}/predictions/video",
        data=body,
        headers={"Content-Type": "application/json", **server.keys.headers("inference")},
        timeout=60,
    )
    return Reply(response.status_code, response.json())


def _pids(server: TorchServe) -> dict[str, list[int]]:
    workers = {model: server.describe(model)["workers"] for model in MODELS}
    assert {worker["status"] for each in workers.values() for worker in each} == {"READY"}
    return {model: [worker["pid"] for worker in each] for model, each in workers.items()}


def _print(title: str, outcomes: Counter[str]) -> None:
    table = Table("outcome", "files", title=title)
    rows: Sequence[tuple[str, int]] = outcomes.most_common()
    for outcome, count in rows:
        table.add_row(outcome, str(count))
    Console().print(table)
