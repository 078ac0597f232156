"""Whatever door a clip comes in by, the verdict is the local detector's, to the digit."""

from __future__ import annotations

import base64
import json

import pytest
import requests

from deepdetect.detector import DeepfakeDetector

SETTLED = ("prediction", "confidence", "probabilities", "threshold", "file_type", "modalities", "sha256", "warnings")
ODD_NAME = "klöön\n名.mp4"
FRAMES = 4  # not the default, so that a form that loses its options is found out


def settled(answer: dict) -> dict:
    """The part of an answer that depends on the file and the options alone."""
    assert "error" not in answer, answer
    return {key: answer[key] for key in SETTLED}


@pytest.fixture(scope="module")
def wanted(detector: DeepfakeDetector, clip, tmp_path_factory) -> dict:
    path = tmp_path_factory.mktemp("local") / "clip.mp4"
    path.write_bytes(clip())
    return settled(detector.detect(path, frames=FRAMES))


@pytest.fixture(scope="module")
def encoded(clip) -> str:
    return base64.b64encode(clip()).decode()


def test_raw_body(http, clip, wanted):
    reply = http.predict("ensemble", clip(), file_name=ODD_NAME, options={"frames": FRAMES})
    assert reply.status == 200
    assert reply.body["file_name"] == ODD_NAME
    assert reply.body["model"]["name"] == "ensemble"
    assert settled(reply.body) == wanted


def test_raw_body_as_curl_puts_it(server, clip, wanted):
    headers = {"X-DeepDetect-Options": json.dumps({"frames": FRAMES}), **server.keys.headers("inference")}
    response = requests.put(f"{server.inference}/predictions/ensemble", data=clip(), headers=headers, timeout=60)
    assert settled(response.json()) == wanted


def test_multipart(server, clip, wanted):
    response = requests.post(
        f"{server.inference}/predictions/ensemble",
        files={"data": ("ignored.txt", clip(), "video/mp4")},
        data={"frames": str(FRAMES), "file_name": ODD_NAME},
        headers=server.keys.headers("inference"),
        timeout=60,
    )
    assert response.headers["content-type"] == "application/json"
    assert response.json()["file_name"] == ODD_NAME
    assert settled(response.json()) == wanted


@pytest.mark.parametrize("options", [{"frames": FRAMES}, {"options": {"frames": FRAMES}}])
def test_json(server, encoded, wanted, options):
    body = {"data": encoded, "file_name": ODD_NAME, **options}
    response = requests.post(
        f"{server.inference}/predictions/ensemble", json=body, headers=server.keys.headers("inference"), timeout=60
    )
    assert response.json()["file_name"] == ODD_NAME
    assert settled(response.json()) == wanted


def test_v1_predict(server, encoded, wanted):
    body = {"instances": [{"b64": encoded, "frames": FRAMES}, {"b64": "?"}]}
    response = requests.post(
        f"{server.inference}/v1/models/ensemble:predict",
        json=body,
        headers=server.keys.headers("inference"),
        timeout=60,
    )
    good, bad = response.json()["predictions"]
    assert response.status_code == 200
    assert settled(good) == wanted
    assert bad["error"]["code"] == "bad_request"


def test_v2_infer(server, encoded, wanted):
    tensor = {"name": "data", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    body = {"id": "mine", "parameters": {"frames": FRAMES}, "inputs": [tensor]}
    response = requests.post(
        f"{server.inference}/v2/models/ensemble/infer", json=body, headers=server.keys.headers("inference"), timeout=60
    )
    record = response.json()
    assert (record["id"], record["model_name"], record["model_version"]) == ("mine", "ensemble", "1.0")
    assert settled(json.loads(record["outputs"][0]["data"][0])) == wanted


def test_query_parameters_where_torchserve_passes_them_on(server, clip, wanted):
    url = f"{server.inference}/models/ensemble/invoke?frames={FRAMES}"
    assert (
        settled(requests.post(url, data=clip(), headers=server.keys.headers("inference"), timeout=60).json()) == wanted
    )


def test_grpc(over_grpc, clip, wanted):
    reply = over_grpc.predict("ensemble", clip(), file_name=ODD_NAME, options={"frames": FRAMES})
    assert reply.body["file_name"] == ODD_NAME
    assert settled(reply.body) == wanted


def test_grpc_takes_messages_above_its_usual_four_mebibytes(over_grpc, sound):
    n_bytes = 8 * 2**20
    chunk = b"JUNK" + n_bytes.to_bytes(4, "little") + bytes(n_bytes)
    assert over_grpc.predict("audio", sound + chunk).status == 200


def test_grpc_stream_ends_after_one_answer(over_grpc, http, sound):
    (reply,) = over_grpc.predict_stream("audio", sound)
    assert reply.status == 200
    assert http.predict("audio", sound).status == 200


@pytest.mark.parametrize("model", ["video", "audio"])
def test_single_models_agree_with_the_local_detector(http, detector, sample_clip, model):
    answer = http.predict(model, sample_clip.read_bytes()).body
    assert settled(answer) == settled(getattr(detector, f"detect_{model}")(sample_clip))
    assert list(answer["modalities"]) == [model]


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_real_clips_agree_with_the_local_detector(http, over_grpc, detector, data_dir, kind):
    suffixes = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".wav", ".flac", ".mp3", ".ogg", ".m4a"}
    clips = sorted(path for path in (data_dir / kind).rglob("*") if path.suffix.lower() in suffixes)
    path = clips[len(clips) // 2]
    local = settled(detector.detect(path))
    for client in (http, over_grpc):
        assert settled(client.predict("ensemble", path.read_bytes()).body) == local


def test_a_repeat_comes_from_the_cache_and_says_so(http, clip):
    data = clip(seed=5)
    first, second = (http.predict("ensemble", data, file_name=name).body for name in ("one.mp4", "two.mp4"))
    assert (first["cache"], second["cache"]) == ("miss", "hit")
    assert second["file_name"] == "two.mp4"
    assert settled(first) == settled(second)


def test_one_track_is_enough_for_the_ensemble(http, clip, sound):
    only_sound = http.predict("ensemble", sound).body
    only_picture = http.predict("ensemble", clip(audio_codec=None)).body
    assert (list(only_sound["modalities"]), only_sound["file_type"]) == (["audio"], "audio")
    assert (list(only_picture["modalities"]), only_picture["file_type"]) == (["video"], "video")
    for answer in (only_sound, only_picture):
        assert any("not scored" in warning for warning in answer["warnings"])


def test_a_caller_may_ask_which_verdicts_are_uncertain(http, over_grpc, sound):
    for client in (http, over_grpc):
        answers = [client.predict("audio", sound, options={"uncertain_band": band}).body for band in (0.5, 1e-6)]
        assert [answer["uncertain"] for answer in answers] == [True, False]
        assert answers[0]["prediction"] in ("Real", "Fake")
