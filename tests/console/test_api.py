"""The console's calls over a real TorchServe: verdict, explanation, comparison, exports, health."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from operations.server import PROJECT_DIR
from samples.clip import make_sample
from tests.console.environment import needs_console

pytestmark = needs_console


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "two seconds.mp4"
    return make_sample(path, duration_s=2.0, width=480, height=360)


@pytest.fixture(scope="module")
def caller(console):
    return console.visit()


@pytest.fixture(scope="module")
def url(console) -> str:
    return console.address + "/api/clips"


@pytest.fixture(scope="module")
def judged(caller, url, clip_file) -> dict:
    """A clip with its verdict."""
    added = caller.post(url, params={"name": clip_file.name}, data=clip_file.read_bytes(), timeout=30)
    assert added.status_code == 201
    return wait(caller, url, added.json()["id"])


def wait(caller, url, clip_id) -> dict:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        record = caller.get(f"{url}/{clip_id}", timeout=30).json()
        if record["state"] not in ("waiting", "running"):
            return record
        time.sleep(0.1)
    raise AssertionError("no verdict")


def test_a_verdict_is_the_servers_own(judged, torchserve, clip_file):
    direct = torchserve.http_client().predict("ensemble", clip_file.read_bytes(), file_name=clip_file.name).body
    assert judged["state"] == "done"
    assert judged["answer"]["probabilities"] == direct["probabilities"]
    assert judged["answer"]["file_name"] == clip_file.name
    assert judged["judged_by"] == "ensemble"


def test_an_explanation_brings_scores_over_time_and_pictures(judged, caller, url):
    explained = caller.post(f"{url}/{judged['id']}/explain", timeout=120).json()
    assert set(explained["tracks"]) == {"video", "audio"}
    assert len(explained["explanation"]["video"]["frame_p_fake"]) > judged["answer"]["modalities"]["video"]["frames"]
    assert explained["explanation"]["video"]["heatmap"]["png_base64"]
    assert explained["answer"] == judged["answer"]  # the verdict is that of the plain request
    (face,) = explained["faces"]
    assert all(0 < share < 1 for one in face["boxes"] for share in one["box"])


def test_another_version_gives_its_own_verdict(judged, caller, url):
    compared = caller.post(f"{url}/{judged['id']}/compare?version=2.0", timeout=120).json()
    assert compared["answer"]["model"]["version"] == "2.0"
    assert compared["answer"]["threshold"] == 0.05
    assert compared["answer"]["probabilities"] == judged["answer"]["probabilities"]
    missing = caller.post(f"{url}/{judged['id']}/compare?version=9.0", timeout=120)
    assert missing.status_code == 502
    assert missing.json()["error"]["code"] == "RequestFailed"


@pytest.mark.parametrize("kind", ["curl", "python"])
def test_the_line_for_a_terminal_gives_the_same_answer(judged, clip_file, kind):
    # As the page says: in the project's directory, with the file beside it. Here it is named by its whole path.
    line = judged["commands"][kind].replace(clip_file.name, str(clip_file))
    done = subprocess.run(
        ["bash", "-c", line], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=120, env=_plain()
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout) if kind == "curl" else ast.literal_eval(done.stdout)
    assert answer["probabilities"] == judged["answer"]["probabilities"]
    assert answer["model"] == judged["answer"]["model"]


def test_a_bad_file_is_refused_alone_and_may_be_tried_again(caller, url):
    added = caller.post(url, params={"name": "notes.txt"}, data=b"no video", timeout=30).json()
    record = wait(caller, url, added["id"])
    assert (record["state"], record["error"]["code"]) == ("failed", "unknown_container")
    assert record["advice"]["advice"].startswith("Upload mp4")
    assert caller.post(f"{url}/{added['id']}/explain", timeout=30).status_code == 409
    assert caller.post(f"{url}/{added['id']}/retry", timeout=30).json()["state"] in ("waiting", "running")
    assert wait(caller, url, added["id"])["state"] == "failed"
    assert caller.delete(f"{url}/{added['id']}", timeout=30).status_code == 204


def test_what_waits_may_be_cancelled(caller, url, clip_file):
    data = clip_file.read_bytes()
    ids = [
        caller.post(url, params={"name": f"{n}.mp4"}, data=data + bytes([0] * n), timeout=30).json()["id"]
        for n in range(8, 24)
    ]
    cancelled = caller.post(f"{url}/{ids[-1]}/cancel", timeout=30).json()
    assert cancelled["state"] == "cancelled"
    states = [wait(caller, url, clip_id)["state"] for clip_id in ids]
    assert states == ["done"] * 15 + ["cancelled"]
    for clip_id in ids:
        caller.delete(f"{url}/{clip_id}", timeout=30)


def test_exports_hold_the_verdict(judged, caller, console):
    fetch = lambda kind: caller.get(f"{console.address}/export/{kind}?threshold=0.02&title=Case+7", timeout=60)  # noqa: E731
    (row,) = csv.DictReader(io.StringIO(fetch("csv").text))
    assert (row["file"], row["verdict"], row["sha256"]) == (judged["name"], "Fake", judged["answer"]["sha256"])
    (record,) = json.loads(fetch("json").text)["files"]
    assert record["answer"] == judged["answer"]
    page = fetch("html")
    assert "attachment" in page.headers["content-disposition"]
    assert "Case 7" in page.text
    assert judged["answer"]["sha256"] in page.text
    assert fetch("pdf").status_code == 404


def test_models_and_health_are_told(judged, caller, console):
    models = caller.get(f"{console.address}/api/models", timeout=120).json()
    assert [(one["version"], one["is_default"]) for one in models["versions"]] == [("1.0", True), ("2.0", False)]
    assert {row["modality"] for row in models["versions"][0]["card"]} >= {"video", "audio"}
    first = caller.get(f"{console.address}/api/health", timeout=60).json()["versions"][0]
    assert (first["n_ready"], first["n_workers"]) == (1, 1)
    assert first["p95_s"] > 0
    assert first["n_cache_lookups"] > 0


def test_a_piece_of_a_stream_is_judged_and_not_kept(caller, console, clip_file):
    outcome = caller.post(f"{console.address}/api/live", data=clip_file.read_bytes(), timeout=60).json()
    assert outcome["answer"]["prediction"] in ("Real", "Fake")
    assert len(caller.get(f"{console.address}/api/clips", timeout=30).json()["ids"]) == 1


def test_the_limit_is_the_servers(caller, console):
    assert caller.get(f"{console.address}/api/limits", timeout=60).json() == {"max_file_bytes": 104_857_600}


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DEEPDETECT_")}
