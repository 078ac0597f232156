"""What the management client asks for; what a real server makes of it is in tests/end_to_end/test_versions.py."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

from client.errors import KeyRefused, RequestFailed, ServerUnavailable
from client.keys import FixedKeys, NoKeys
from client.management import DefaultVersion, Management, UnknownModel, UnknownVersion
from tests.http_server import Handler, Server, serving

KEY = "management-key"


def described(version: str) -> dict:
    worker = {"id": "1", "status": "READY", "memoryUsage": 5, "pid": 7}
    return {
        "modelName": "audio",
        "modelVersion": version,
        "modelUrl": f"audio-{version}.mar",
        "minWorkers": 1,
        "maxWorkers": 1,
        "responseTimeout": 120,
        "workers": [worker, worker | {"status": "UNLOADING"}],
        "jobQueueStatus": {"remainingCapacity": 97, "pendingRequests": 3},
    }


class TorchServe(Server):
    """Answers as TorchServe with `audio` in versions 1.0, the default, 2.0 and 10.0; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(Answering)
        self.asked: list[tuple[str, str, dict]] = []


class Answering(Handler):
    def answer(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append((self.command, url.path, dict(parse_qsl(url.query))))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self.reply(400, {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed"})
        elif url.path == "/models" and self.command == "GET":
            page = "next_page_token" in url.query
            models = [{"modelName": "video"}] if page else [{"modelName": "audio"}]
            self.reply(200, {"models": models} | ({} if page else {"nextPageToken": "1"}))
        elif url.path == "/models/audio":
            self.reply(200, [described("1.0")])
        elif url.path == "/models/audio/all":
            self.reply(200, [described("10.0"), described("1.0"), described("2.0")])
        elif url.path.startswith("/models/audio/2.0") or self.command == "POST":
            self.reply(200, [described("2.0") | {"customizedMetadata": {"digest": "abc"}}])
        else:
            self.reply(404, {"code": 404, "type": "ModelNotFoundException", "message": "Model not found"})

    do_GET = do_POST = do_PUT = do_DELETE = answer


@pytest.fixture(scope="module")
def running() -> Iterator[TorchServe]:
    with serving(TorchServe()) as server:
        yield server


@pytest.fixture
def server(running) -> TorchServe:
    running.asked.clear()
    return running


@pytest.fixture
def management(server) -> Management:
    return Management(server.address, keys=FixedKeys(management=KEY))


def test_models_are_listed_over_all_pages(management):
    assert management.models() == ["audio", "video"]


def test_versions_are_in_the_order_of_their_numbers_and_the_default_is_marked(management):
    versions = management.versions("audio")
    assert [(served.version, served.is_default) for served in versions] == [
        ("1.0", True),
        ("2.0", False),
        ("10.0", False),
    ]
    first = versions[0]
    assert (first.archive, first.n_ready, first.is_ready, first.n_pending) == ("audio-1.0.mar", 1, True, 3)
    assert [(worker.pid, worker.status) for worker in first.workers] == [(7, "READY"), (7, "UNLOADING")]


def test_workers_are_scaled_with_both_bounds_and_waited_for(management, server):
    management.scale("audio", "2.0", 3)
    workers = {"min_worker": "3", "max_worker": "3", "synchronous": "true"}
    assert server.asked[-1] == ("PUT", "/models/audio/2.0", workers)


def test_archives_are_registered_with_the_workers_of_their_own_configuration(management, server):
    management.register("audio-2.0.mar")
    assert server.asked == [("POST", "/models", {"url": "audio-2.0.mar", "synchronous": "true"})]


def test_batches_may_differ_from_the_configuration(management, server):
    management.register("audio-2.0.mar", batch_size=8, max_batch_delay_ms=20)
    wanted = {"url": "audio-2.0.mar", "batch_size": "8", "max_batch_delay": "20", "synchronous": "true"}
    assert server.asked == [("POST", "/models", wanted)]


def test_a_manifest_is_asked_of_one_version(management, server):
    assert management.describe("audio", "2.0").manifest == {"digest": "abc"}
    assert server.asked[-1] == ("GET", "/models/audio/2.0", {"customized": "true"})


def test_what_is_not_there_is_refused_before_anything_is_changed(management, server):
    known = r"no version 3\.0; registered: 1\.0 \(default\), 2\.0, 10\.0"
    for call in (management.set_default, management.unregister, lambda *where: management.scale(*where, 1)):
        with pytest.raises(UnknownVersion, match=known):
            call("audio", "3.0")
    with pytest.raises(UnknownModel, match="no model smell; registered: audio, video"):
        management.versions("smell")
    with pytest.raises(DefaultVersion, match="promote another version first"):
        management.unregister("audio", "1.0")
    assert {method for method, *_ in server.asked} == {"GET"}


def test_faults_have_names(management, server):
    address = management.address
    with pytest.raises(KeyRefused):
        Management(address, keys=NoKeys()).models()
    with pytest.raises(ServerUnavailable):
        Management("http://127.0.0.1:9", keys=NoKeys()).models()
    with pytest.raises(RequestFailed, match="404: Model not found"):
        management._call("GET", "/nowhere")
