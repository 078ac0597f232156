"""docs/openapi.yaml describes what the running server really takes and gives."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import fields

import pytest
import requests
import yaml
from jsonschema import Draft202012Validator

from model_defs.inference.options import DetectOptions
from operations.server import PROJECT_DIR

SPEC = yaml.safe_load((PROJECT_DIR / "docs" / "openapi.yaml").read_text(encoding="utf-8"))


def validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": SPEC["components"]}
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("name", SPEC["components"]["schemas"])
def test_every_schema_is_one(name):
    Draft202012Validator.check_schema(SPEC["components"]["schemas"][name])
    list(validator(name).iter_errors({}))  # each reference leads somewhere


def test_every_reference_and_operation_stands():
    text = json.dumps(SPEC)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        target = SPEC
        for part in reference.split("/"):
            target = target[part]
    names = [
        operation["operationId"]
        for path in SPEC["paths"].values()
        for operation in path.values()
        if "tags" in operation
    ]
    assert len(names) == len(set(names)) > 10


def test_every_option_is_described():
    assert set(SPEC["components"]["schemas"]["Options"]["properties"]) == {
        option.name for option in fields(DetectOptions)
    }


@pytest.fixture(scope="module")
def call(server):
    def post(path: str, **body) -> requests.Response:
        body.setdefault("headers", {}).update(server.keys.headers("inference"))
        return requests.post(server.inference + path, timeout=120, **body)

    return post


@pytest.mark.parametrize("path", ["/predictions/ensemble", "/predictions/video/1.0", "/explanations/ensemble"])
def test_answers_are_as_described(call, clip, path):
    response = call(path, data=clip(), headers={"X-DeepDetect-Options": '{"frames": 3, "uncertain_band": 0.1}'})
    assert response.status_code == 200
    validator("Answer").validate(response.json())
    assert ("explanation" in response.json()) == path.startswith("/explanations")


def test_answers_for_sound_and_over_grpc_are_as_described(call, over_grpc, sound):
    validator("Answer").validate(call("/predictions/audio", data=sound).json())
    validator("Answer").validate(over_grpc.predict("ensemble", sound).body)


def test_an_answer_without_a_face_is_as_described(call, clip):
    answer = call("/predictions/ensemble", data=clip(face=False)).json()
    assert answer["modalities"]["video"]["p_fake"] is None
    validator("Answer").validate(answer)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"text", 415), (b"RIFF\x00\x00\x00\x00WAVE", 422)],
)
def test_errors_are_as_described(call, body, status):
    response = call("/predictions/audio", data=body)
    assert response.status_code == status
    validator("Error").validate(response.json())
    assert list(validator("Answer").iter_errors(response.json()))


def test_torchserves_own_errors_are_as_described(call):
    validator("TorchServeError").validate(call("/predictions/nobody", data=b"text").json())


def test_kserves_protocols_are_as_described(call, sound):
    text = base64.b64encode(sound).decode()
    v1 = {"instances": [{"b64": text, "file_name": "a.wav", "options": {"threshold": 0.4}}, "?"]}
    v2 = {"id": "7", "inputs": [{"name": "data", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    for kind, path, body in (("V1", "/v1/models/audio:predict", v1), ("Infer", "/v2/models/audio/infer", v2)):
        validator(f"{kind}Request").validate(body)
        response = call(path, json=body)
        assert response.status_code == 200
        validator(f"{kind}Response").validate(response.json())
    validator("Answer").validate(json.loads(response.json()["outputs"][0]["data"][0]))
    v2["inputs"][0]["data"] = ["AAAA"]
    validator("InferError").validate(call("/v2/models/audio/infer", json=v2).json())
