"""Explanations over every door: the local detector's, to the digit, and nobody else's business."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from deepdetect.detector import DeepfakeDetector

FRAMES = 4
SETTLED = ("prediction", "confidence", "probabilities", "threshold", "file_type", "modalities", "sha256", "warnings")


@pytest.fixture(scope="module")
def path(clip, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("local") / "clip.mp4"
    path.write_bytes(clip())
    return path


@pytest.fixture(scope="module")
def wanted(detector, path) -> dict:
    return detector.detect(path, frames=FRAMES, explain=True)


@pytest.fixture(scope="module")
def post(server):
    """`requests.post` to a path of the server, with its key."""

    def send(path: str, *, headers: dict | None = None, **body) -> requests.Response:
        headers = {**server.keys.headers("inference"), **(headers or {})}
        return requests.post(server.inference + path, headers=headers, timeout=60, **body)

    return send


def check(answer: dict, wanted: dict) -> None:
    assert "error" not in answer, answer
    assert {key: answer[key] for key in SETTLED} == {key: wanted[key] for key in SETTLED}
    assert answer["explanation"] == wanted["explanation"]


def test_the_local_explanation_has_its_parts(wanted, path):
    video, audio = wanted["explanation"]["video"], wanted["explanation"]["audio"]
    assert len(video["frame_p_fake"]) == len(video["frame_effect"]) == len(video["attention"]) == FRAMES
    fp32 = DeepfakeDetector(device="cpu", use_quantization=False).detect(path, frames=FRAMES)["modalities"]
    for modality, explained in (("video", video), ("audio", audio)):
        assert explained["p_fake"] == pytest.approx(fp32[modality]["p_fake"], abs=2e-6)
    assert len(audio["stretch_effect"]) == len(audio["attention"]) == wanted["modalities"]["audio"]["windows"]
    for heatmap in (video["heatmap"], audio["heatmap"]):
        png = np.frombuffer(base64.b64decode(heatmap["png_base64"], validate=True), np.uint8)
        assert cv2.imdecode(png, cv2.IMREAD_COLOR).shape == (heatmap["height_px"], heatmap["width_px"], 3)


def test_the_door_for_explanations(post, clip, wanted):
    headers = {"X-DeepDetect-Options": json.dumps({"frames": FRAMES})}
    response = post("/explanations/ensemble", data=clip(), headers=headers)
    assert response.status_code == 200
    check(response.json(), wanted)


def test_the_option_over_a_raw_body(http, clip, wanted):
    check(http.predict("ensemble", clip(), options={"frames": FRAMES, "explain": True}).body, wanted)


def test_the_option_over_grpc(over_grpc, clip, wanted):
    check(over_grpc.predict("ensemble", clip(), options={"frames": FRAMES, "explain": True}).body, wanted)


@pytest.mark.parametrize(
    ("door", "members"),
    [("/predictions/ensemble", {"explain": True}), ("/explanations/ensemble", {})],
)
def test_json(post, clip, wanted, door, members):
    body = {"data": base64.b64encode(clip()).decode(), "frames": FRAMES, **members}
    check(post(door, json=body).json(), wanted)


def test_kserve_doors(post, clip, wanted):
    encoded = base64.b64encode(clip()).decode()
    body = {"instances": [{"b64": encoded, "frames": FRAMES}]}
    response = post("/v1/models/ensemble:explain", json=body)
    check(response.json()["explanations"][0], wanted)
    tensor = {"name": "data", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    body = {"parameters": {"frames": FRAMES}, "inputs": [tensor]}
    response = post("/v2/models/ensemble/explain", json=body)
    check(json.loads(response.json()["outputs"][0]["data"][0]), wanted)


def test_a_part_of_it(http, clip, wanted):
    answer = http.predict("video", clip(), options={"frames": FRAMES, "explain": ["scores"]}).body
    expected = {key: value for key, value in wanted["explanation"]["video"].items() if key != "heatmap"}
    assert answer["explanation"] == {"video": expected}


def test_what_is_refused_is_refused_the_same(post, http, sound):
    for data, code, status in ((b"no media", "unknown_container", 415), (sound, "no_video_track", 422)):
        response = post("/explanations/video", data=data)
        assert (response.status_code, response.json()) == (status, http.predict("video", data).body)
        assert response.json()["error"]["code"] == code
    reply = http.predict("video", sound, options={"explain": "everything"})
    assert (reply.status, reply.error_code) == (400, "bad_option")


def test_plain_requests_beside_explained_ones_stay_plain(http, clip):
    """Sent together, so that TorchServe puts them into the same batches."""
    clips = [clip(seed=seed) for seed in (31, 32)]
    kinds = [(data, explain) for data in clips for explain in (False, True, False, True)]
    plain = [http.predict("video", data, options={"frames": FRAMES, "threshold": 0.4}).body for data in clips]
    with ThreadPoolExecutor(len(kinds)) as pool:
        answers = list(
            pool.map(lambda kind: http.predict("video", kind[0], options={"frames": FRAMES, "explain": kind[1]}), kinds)
        )
    for (data, explain), reply in zip(kinds, answers, strict=True):
        assert reply.status == 200
        assert ("explanation" in reply.body) is explain
        assert reply.body["modalities"] == plain[clips.index(data)]["modalities"]
