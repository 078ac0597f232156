"""Many callers at once, by every door: each gets the answer to its own file, whatever the others send."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import requests

N_REQUESTS = 2_100
N_CALLERS = 16
SEED = 20_261_124
DOORS = {"raw": 4, "multipart": 2, "json": 2, "v1": 1, "v2": 1, "grpc": 6}  # door -> its share
MODELS = {"audio": 40, "ensemble": 3, "video": 1}
SHARE_BAD = 0.2
SHARE_UNIQUE = 0.4  # of the requests; the others repeat a file
THRESHOLDS = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Payload:
    """A file to send, and what must come back.

    Attributes:
        p_fake: model -> the local detector's P(fake).
        refusal: model -> the code of its refusal, where it has one.
    """

    data: bytes = field(repr=False)
    p_fake: Mapping[str, float] = field(default_factory=dict)
    refusal: Mapping[str, str] = field(default_factory=dict)

    def unique(self, rng: random.Random) -> Payload:
        """Another file with the same pictures and sound: a box, or just bytes, behind the last chunk."""
        return replace(self, data=self.data + b"\0\0\0\x10free" + rng.randbytes(8))


@dataclass(frozen=True)
class Call:
    """One request of the plan: one file, or several in the v1 and v2 forms."""

    index: int
    door: str
    model: str
    payloads: tuple[Payload, ...]
    threshold: float

    @property
    def options(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "file_name": f"file {self.index}"}


@pytest.fixture(scope="module")
def payloads(clip, detector, tmp_path_factory) -> dict[str, list[Payload]]:
    """Files by kind: `sound` and `video`, which all have a verdict of their own, and `bad`."""
    directory = tmp_path_factory.mktemp("payloads")

    def local(model: str, data: bytes) -> float:
        path = directory / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        judge = detector.detect if model == "ensemble" else getattr(detector, f"detect_{model}")
        return judge(path)["probabilities"]["fake"]

    sounds = [
        clip("wav", video_codec=None, audio_codec="pcm_s16le", duration_s=0.5 + 0.1 * seed, seed=seed)
        for seed in range(10)
    ]
    videos = [clip("mp4", duration_s=1.0, width=320, height=240, seed=seed) for seed in range(3)]
    no_sound = "undecodable_media"
    bad = {
        b"": "empty_body",
        b"this is no clip": "unknown_container",
        sounds[0][:30]: no_sound,
        videos[0][:99]: no_sound,
    }
    return {
        "sound": [
            Payload(data, {model: local(model, data) for model in ("audio", "ensemble")}, {"video": "no_video_track"})
            for data in sounds
        ],
        "video": [Payload(data, {model: local(model, data) for model in MODELS}) for data in videos],
        "bad": [Payload(data, refusal=dict.fromkeys(MODELS, code)) for data, code in bad.items()],
    }


def test_every_caller_gets_its_own_files_answer(server, http, over_grpc, payloads, capsys):
    plan, doors = make_plan(payloads), Doors(server, http, over_grpc)
    started = time.perf_counter()
    with ThreadPoolExecutor(N_CALLERS) as callers:
        counts = sum(callers.map(lambda call: check(call, doors.send(call)), plan), Counter())
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(f"\n{N_REQUESTS} requests by {N_CALLERS} callers in {seconds:.0f} s:")
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    assert counts["answered"] == N_REQUESTS >= 2_000
    assert counts["files judged"] + counts["files refused"] == sum(len(call.payloads) for call in plan)
    assert {"cache: hit", "cache: miss", *(f"door: {door}" for door in DOORS)} <= counts.keys()


def make_plan(payloads: Mapping[str, list[Payload]]) -> list[Call]:
    """The same requests every time, in random order."""
    rng = random.Random(SEED)

    def draw(model: str) -> Payload:
        kind = "bad" if rng.random() < SHARE_BAD else rng.choice(["sound", "sound" if model == "audio" else "video"])
        payload = rng.choice(payloads[kind])
        return payload.unique(rng) if payload.data and rng.random() < SHARE_UNIQUE else payload

    plan = []
    for index in range(N_REQUESTS):
        (door,) = rng.choices(list(DOORS), list(DOORS.values()))
        (model,) = rng.choices(list(MODELS), list(MODELS.values()))
        n_files = rng.randint(1, 3) if door in ("v1", "v2") else 1
        plan.append(Call(index, door, model, tuple(draw(model) for _ in range(n_files)), rng.choice(THRESHOLDS)))
    return plan


def check(call: Call, answers: list[dict[str, Any]]) -> Counter:
    """Holds every answer against its file; returns what to count."""
    assert len(answers) == len(call.payloads)
    counts = Counter({"answered": 1, f"door: {call.door}": 1, f"model: {call.model}": 1})
    for payload, answer in zip(call.payloads, answers, strict=True):
        if call.model in payload.refusal:
            assert answer["error"]["code"] == payload.refusal[call.model], (call, answer)
            counts["files refused"] += 1
            continue
        assert answer.get("sha256") == hashlib.sha256(payload.data).hexdigest(), (call, answer)
        assert answer["file_name"] == call.options["file_name"]
        assert answer["threshold"] == call.threshold
        assert answer["model"]["name"] == call.model
        assert answer["probabilities"]["fake"] == payload.p_fake[call.model]
        assert answer["prediction"] == ("Fake" if payload.p_fake[call.model] >= call.threshold else "Real")
        counts.update(["files judged", f"cache: {answer['cache']}"])
    return counts


class Doors:
    """Sends a call by its door; each gives the answers to the call's files."""

    def __init__(self, server, http, over_grpc) -> None:
        self._server, self._http, self._grpc = server, http, over_grpc
        self._thread = threading.local()

    def send(self, call: Call) -> list[dict[str, Any]]:
        send: Callable[[Call], list[dict]] = getattr(self, f"_send_{call.door}")
        return send(call)

    def _send_raw(self, call: Call) -> list[dict]:
        return [self._predict(self._http, call)]

    def _send_grpc(self, call: Call) -> list[dict]:
        return [self._predict(self._grpc, call)]

    def _predict(self, client, call: Call) -> dict:
        options = dict(call.options)
        name = options.pop("file_name")
        return client.predict(call.model, call.payloads[0].data, file_name=name, options=options).body

    def _send_multipart(self, call: Call) -> list[dict]:
        files = {"data": ("ignored", call.payloads[0].data)}
        return [self._post(f"/predictions/{call.model}", files=files, data=call.options)]

    def _send_json(self, call: Call) -> list[dict]:
        body = {"data": _base64(call.payloads[0]), **call.options}
        return [self._post(f"/predictions/{call.model}", json=body)]

    def _send_v1(self, call: Call) -> list[dict]:
        instances = [{"b64": _base64(payload), **call.options} for payload in call.payloads]
        return self._post(f"/v1/models/{call.model}:predict", json={"instances": instances})["predictions"]

    def _send_v2(self, call: Call) -> list[dict]:
        data = [_base64(payload) for payload in call.payloads]
        tensor = {"name": "data", "datatype": "BYTES", "shape": [len(data)], "data": data}
        body = {"id": str(call.index), "inputs": [tensor], "parameters": call.options}
        reply = self._post(f"/v2/models/{call.model}/infer", json=body)
        assert reply["id"] == str(call.index)
        return [json.loads(text) for text in reply["outputs"][0]["data"]]

    def _post(self, path: str, **arguments: Any) -> dict:
        if not hasattr(self._thread, "session"):
            self._thread.session = requests.Session()
        headers = self._server.keys.headers("inference")
        url = self._server.inference + path
        return self._thread.session.post(url, headers=headers, timeout=120, **arguments).json()


def _base64(payload: Payload) -> str:
    return base64.b64encode(payload.data).decode()
