"""Bad input in a batch beside a good request: it is refused by name, the neighbour is served, the worker lives."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest
import requests
from PIL import Image

from client.inference import HttpClient, Reply
from client.padding import unique
from operations.server import TorchServe

N_NEIGHBOURS = 2


@pytest.fixture(scope="module")
def files(clip, sound, tmp_path_factory) -> dict[str, bytes]:
    whole = clip()
    return {
        "empty body": b"",
        "text": b"not a film, but a letter\n" * 50,
        "truncated mp4": whole[: len(whole) // 2],
        "picture": _picture("PNG"),
        "moving picture": _picture("GIF"),
        "no video track": clip("mp4", video_codec=None),
        "no audio track": clip(audio_codec=None),
        "sound": sound,
        "silent wav": clip("wav", video_codec=None, audio_codec="pcm_s16le", speech=False),
        "wav without samples": _wav_header(),
        "vast picture": _vast(tmp_path_factory.mktemp("vast") / "vast.mp4"),
        "one frame": clip(duration_s=0.04),
        "one second": clip(duration_s=1.0),
        "no face": clip(face=False),
    }


REFUSED = [
    ("video", "empty body", "empty_body"),
    ("video", "text", "unknown_container"),
    ("video", "truncated mp4", "undecodable_media"),
    ("video", "picture", "unknown_container"),
    ("video", "moving picture", "unknown_container"),
    ("video", "no video track", "no_video_track"),
    ("video", "sound", "no_video_track"),
    ("video", "vast picture", "too_many_pixels"),
    ("video", "no face", "no_face"),
    ("audio", "empty body", "empty_body"),
    ("audio", "text", "unknown_container"),
    ("audio", "truncated mp4", "undecodable_media"),
    ("audio", "picture", "unknown_container"),
    ("audio", "no audio track", "no_audio_track"),
    ("audio", "silent wav", "silent_audio"),
    ("audio", "wav without samples", "undecodable_media"),
    ("ensemble", "empty body", "empty_body"),
    ("ensemble", "text", "unknown_container"),
    ("ensemble", "truncated mp4", "undecodable_media"),
    ("ensemble", "picture", "unknown_container"),
    ("ensemble", "silent wav", "silent_audio"),
]
SERVED = [
    ("video", "one frame", "one frame"),
    ("video", "one second", None),
    ("audio", "one second", None),
    ("ensemble", "one frame", "one frame"),
    ("ensemble", "one second", None),
    ("ensemble", "no face", "no face"),
    ("ensemble", "no video track", "video was not scored"),
]


@pytest.fixture
def beside_good_requests(server: TorchServe, http: HttpClient, clip) -> Callable[[str, Callable[[], Reply]], Reply]:
    """Makes a call while good requests are on their way to the same worker, and checks how those fared."""

    def run(model: str, call: Callable[[], Reply]) -> Reply:
        good = [unique(clip()) for _ in range(N_NEIGHBOURS)]
        pids = _pids(server, model)
        with ThreadPoolExecutor(N_NEIGHBOURS + 1) as callers:
            first = callers.submit(http.predict, model, good[0])  # keeps the worker busy while the others queue up
            bad = callers.submit(call)
            others = [callers.submit(http.predict, model, data) for data in good[1:]]
            replies = [future.result() for future in (first, *others)]
        assert [reply.status for reply in replies] == [200] * N_NEIGHBOURS
        assert [reply.body["sha256"] for reply in replies] == [hashlib.sha256(data).hexdigest() for data in good]
        assert {reply.body["cache"] for reply in replies} == {"miss"}
        assert _pids(server, model) == pids
        return bad.result()

    return run


@pytest.mark.parametrize(("model", "kind", "code"), REFUSED)
def test_refused(beside_good_requests, http, over_grpc, files, model, kind, code):
    reply = beside_good_requests(model, lambda: http.predict(model, files[kind], file_name=f"{kind}.mp4"))
    error = reply.body["error"]
    assert (error["code"], error["status"]) == (code, reply.status)
    assert set(error) == {"code", "message", "status"}
    assert over_grpc.predict(model, files[kind]).body == reply.body


@pytest.mark.parametrize(("model", "kind", "warning"), SERVED)
def test_odd_but_served(beside_good_requests, http, files, model, kind, warning):
    reply = beside_good_requests(model, lambda: http.predict(model, files[kind]))
    assert reply.status == 200, reply.body
    assert 0 <= reply.body["probabilities"]["fake"] <= 1
    assert warning is None or any(warning in sentence for sentence in reply.body["warnings"])


def test_the_limit_is_named(http, files):
    message = http.predict("video", files["vast picture"]).body["error"]["message"]
    assert "5000 x 5000" in message


def test_wrong_base64(beside_good_requests, server, files):
    reply = beside_good_requests("video", lambda: _post(server, "video", {"data": "*not base64*"}))
    assert (reply.status, reply.error_code) == (400, "bad_request")


@pytest.mark.parametrize("options", [{"colour": "blue"}, {"frames": 0}, {"frames": "many"}, {"modality": "audio"}])
def test_wrong_options(beside_good_requests, http, clip, options):
    reply = beside_good_requests("video", lambda: http.predict("video", clip(), options=options))
    assert (reply.status, reply.error_code) == (400, "bad_option")
    assert next(iter(options)) in reply.body["error"]["message"]


@pytest.mark.parametrize("option", ["colour", "line\r\nfeed: x", "名"])
def test_odd_option_names_and_values_do_no_harm(beside_good_requests, server, clip, option):
    body = {"data": base64.b64encode(clip()).decode(), "options": {option: "né\r\n\x00\ud800"}}
    reply = beside_good_requests("video", lambda: _post(server, "video", body))
    assert (reply.status, reply.error_code) == (400, "bad_option")


@pytest.mark.parametrize(
    "name", ["two\nlines\r\nX-Injected: 1.mp4", "klöön 名 \U0001f600.mp4", '"; drop.mp4', "a" * 900]
)
def test_odd_file_names_come_back_unharmed(beside_good_requests, http, over_grpc, clip, name):
    reply = beside_good_requests("ensemble", lambda: http.predict("ensemble", clip(), file_name=name))
    assert (reply.status, reply.body["file_name"]) == (200, name)
    assert over_grpc.predict("ensemble", clip(), file_name=name).body["file_name"] == name


def test_odd_file_names_in_refusals(beside_good_requests, server, files):
    body = {"data": base64.b64encode(files["text"]).decode(), "file_name": "two\nlines \ud800 名"}
    reply = beside_good_requests("video", lambda: _post(server, "video", body))
    assert (reply.status, reply.error_code) == (415, "unknown_container")


def test_no_face_is_a_refusal_when_a_face_is_required(beside_good_requests, http, files):
    call = lambda: http.predict("ensemble", files["no face"], options={"require_face": True, "modality": "video"})  # noqa: E731
    reply = beside_good_requests("ensemble", call)
    assert (reply.status, reply.error_code) == (422, "no_face")


def test_requests_that_arrive_together_do_share_batches(server, http, clip):
    n_before, files = _n_batches(server), [unique(clip()) for _ in range(8)]
    with ThreadPoolExecutor(len(files)) as callers:
        replies = list(callers.map(lambda data: http.predict("video", data), files))
    assert {reply.status for reply in replies} == {200}
    assert _n_batches(server) - n_before < len(files)


def _post(server: TorchServe, model: str, body: dict) -> Reply:
    response = requests.post(
        f"{server.inference}/predictions/{model}",
        data=json.dumps(body),
        headers={"Content-Type": "application/json", **server.keys.headers("inference")},
        timeout=60,
    )
    return Reply(response.status_code, response.json())


def _pids(server: TorchServe, model: str) -> list[int]:
    description = server.describe(model)
    assert description is not None
    assert {worker["status"] for worker in description["workers"]} == {"READY"}
    return [worker["pid"] for worker in description["workers"]]


def _n_batches(server: TorchServe) -> int:
    log = Path(server.environment["LOG_LOCATION"], "model_log.log")
    return log.read_text(errors="replace").count("Backend received inference")


def _picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, kind, **({"save_all": True, "append_images": frames[1:]} if kind == "GIF" else {}))
    return buffer.getvalue()


def _wav_header() -> bytes:
    """16 kHz mono PCM with no samples."""
    form = b"fmt " + (16).to_bytes(4, "little") + bytes.fromhex("01000100803e0000007d000002001000")
    body = b"WAVE" + form + b"data" + (0).to_bytes(4, "little")
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _vast(path: Path) -> bytes:
    """One frame of 5,000 x 5,000 pixels."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 5_000
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for packet in [*stream.encode(av.VideoFrame(5_000, 5_000, "yuv420p")), *stream.encode(None)]:
            container.mux(packet)
    return path.read_bytes()
