"""The Open Inference Protocol as its clients send it; tests/end_to_end/test_peers_clients.py runs those clients."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from handlers.contract import parse_request, render
from handlers.request import Request
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.engine import Item
from model_defs.inference.options import DetectOptions

MEDIA = b"\x00\x00\x00 ftypisom"
TEXT = base64.b64encode(MEDIA).decode()
HTTP = {"Host": "localhost", "explain": "False"}
TENSOR = {"name": "data", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
NO_FACE = DetectionError(ErrorCode.NO_FACE, "no face")
ANSWER = {"prediction": "Fake", "warnings": [], "warning_codes": []}


def parse(body: dict, headers: dict = HTTP) -> Request:
    request = parse_request({"body": bytearray(json.dumps(body).encode()) if headers is HTTP else body}, JSON | headers)
    assert request.form == "v2"
    return request


JSON = {"body": {"content-type": "application/json"}}


def binary(body: dict, *contents: bytes) -> Request:
    head = json.dumps(body).encode()
    headers = HTTP | {"inference-header-content-length": str(len(head))}
    return parse_request({"body": bytearray(head + b"".join(contents))}, headers)


def element(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def sized(data: bytes, **tensor) -> dict:
    return {"name": "data", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}} | tensor


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"id": "9", "model_name": "audio", "inputs": [TENSOR]}, id="kserve"),
        pytest.param({"inputs": [TENSOR], "parameters": {"binary_data_output": True}}, id="tritonclient"),
        pytest.param(
            {
                "id": "9",
                "parameters": {"content_type": "base64", "headers": {"a": "b"}},
                "inputs": [TENSOR | {"shape": [1, 1], "parameters": {"content_type": "base64"}}],
                "outputs": [],
            },
            id="mlserver",
        ),
        pytest.param({"inputs": [TENSOR | {"shape": [1, 1], "data": [[TEXT]]}], "outputs": None}, id="nested"),
        pytest.param({"inputs": [TENSOR | {"datatype": "UINT8", "data": list(MEDIA)}]}, id="bytes as numbers"),
        pytest.param({"inputs": [TENSOR | {"datatype": "UINT8", "data": [list(MEDIA)], "shape": [1, 12]}]}, id="a row"),
    ],
)
def test_what_the_clients_send_is_understood(body):
    request = parse(body)
    assert request.entries == [Item(MEDIA)]
    assert request.remarks == ()


def test_options_are_parameters_or_tensors_and_the_rest_is_warned_of():
    frames = {"name": "frames", "shape": [1], "datatype": "INT32", "data": [7]}
    named = {"name": "file_name", "shape": [1], "datatype": "BYTES", "data": ["a.mp4"]}
    body = {"inputs": [named, frames, TENSOR], "parameters": {"fames": 3, "require_face": True}}
    request = parse(body)
    assert request.entries == [Item(MEDIA, "a.mp4", DetectOptions(frames=7, require_face=True))]
    status, record = respond(request, [ANSWER])
    assert status == 200
    answer = json.loads(record["outputs"][0]["data"][0])
    (warning,) = answer["warnings"]
    assert warning.endswith("fames")
    assert answer["warning_codes"] == ["ignored_parameters"]
    assert parse({"inputs": [TENSOR], "parameters": {"frames": 0}}).entries[0].code is ErrorCode.BAD_OPTION


def test_over_grpc_torchserve_has_made_base64_of_every_element():
    named = {"name": "file_name", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(b"a.mp4").decode()]}
    twice = base64.b64encode(base64.b64encode(MEDIA * 9)).decode()
    request = parse({"id": "", "inputs": [named, TENSOR | {"shape": [2], "data": [TEXT, twice]}]}, {})
    assert request.is_grpc
    assert request.entries == [Item(MEDIA, "a.mp4"), Item(MEDIA * 9, "a.mp4")]
    _, record = respond(request, [ANSWER, NO_FACE])
    assert record["outputs"][0]["data"] == [ANSWER, NO_FACE.to_dict()]


def test_what_tritonclient_sends_over_grpc_is_told_to_be_lost():
    (entry,) = parse({"id": "", "inputs": [TENSOR | {"data": []}]}, {}).entries
    assert "raw_input_contents" in entry.message


def test_tensors_may_follow_the_json():
    two = element(MEDIA) + element(b"RIFF")
    body = {"inputs": [sized(two, shape=[2]), sized(b"\x07\0\0\0", name="frames", datatype="INT32")]}
    request = binary(body, two, b"\x07\0\0\0")
    assert request.entries == [Item(data, "", DetectOptions(frames=7)) for data in (MEDIA, b"RIFF")]
    rows = binary({"inputs": [sized(MEDIA, datatype="UINT8", shape=[2, 6])]}, MEDIA)
    assert [entry.data for entry in rows.entries] == [MEDIA[:6], MEDIA[6:]]


@pytest.mark.parametrize(
    ("tensor", "contents"),
    [
        (sized(b"1234567"), b"123"),
        (sized(b"123"), b"1234567"),
        (sized(b""), b""),
        (sized(b"\xff\xff\xff\x7fabc"), b"\xff\xff\xff\x7fabc"),
        (sized(b"\x01\0"), b"\x01\0"),
        ({**TENSOR, "data": [], "parameters": {"binary_data_size": -1}}, b""),
        ({**TENSOR, "data": [], "parameters": {"binary_data_size": "3"}}, b"abc"),
        (sized(b"abc", datatype="FP32"), b"abc"),
        (sized(b"abc", datatype="UINT8", shape=[2, 2]), b"abc"),
        (sized(b"ab", name="frames", datatype="INT32"), b"ab"),
        ({**TENSOR, "parameters": {"shared_memory_region": "mine"}}, b""),
    ],
)
def test_what_the_binary_part_does_not_hold_is_refused(tensor, contents):
    (entry,) = binary({"inputs": [tensor]}, contents).entries
    assert entry.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("length", ["", "x", "0", "-1", "9999"])
def test_a_json_length_outside_of_the_body_is_refused(length):
    headers = HTTP | {"inference-header-content-length": length}
    (entry,) = parse_request({"body": bytearray(b"{}")}, headers).entries
    assert entry.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": []},
        {"inputs": "data"},
        {"inputs": [7]},
        {"inputs": [TENSOR | {"datatype": "FP32"}]},
        {"inputs": [{"datatype": "BYTES"}]},
        {"inputs": [TENSOR | {"data": [[[[[[[TEXT]]]]]]]}]},
        {"inputs": [TENSOR | {"datatype": "UINT8", "data": [256]}]},
        {"inputs": [TENSOR], "outputs": [{"name": "other"}]},
        {"inputs": [TENSOR], "outputs": 7},
        {"inputs": [TENSOR | {"datatype": "UINT8", "data": {"a": 1}}]},
        {"inputs": [TENSOR | {"name": ["data"]}]},
        {"inputs": [TENSOR | {"datatype": ["BYTES"]}]},
        {"inputs": [{"name": "frames", "datatype": [], "data": [1], "parameters": {"binary_data_size": 0}}, TENSOR]},
        {"inputs": [TENSOR], "parameters": [1]},
        {"inputs": [{"name": "frames", "datatype": "INT32", "data": [1, 2]}, TENSOR]},
        {"inputs": [{"name": "frames", "datatype": "INT32", "data": [1]}]},
    ],
)
def test_what_is_malformed_is_refused_with_a_string(body):
    request = parse(body)
    status, record = respond(request, request.entries)
    assert (status, record["error"].partition(":")[0]) == (400, "bad_request")


def respond(request: Request, outcomes: list) -> tuple[int, dict]:
    response = render(request, outcomes, "video", "1.0")
    assert response.content_type == "application/json"
    return response.status, json.loads(response.body)


def test_answers_are_json_texts_in_one_tensor():
    request = parse({"id": "mine", "inputs": [TENSOR | {"data": [TEXT, "?"]}]})
    assert request.entries[1].code is ErrorCode.BAD_REQUEST
    status, record = respond(request, [ANSWER, NO_FACE])
    (tensor,) = record.pop("outputs")
    assert (status, record) == (200, {"model_name": "video", "model_version": "1.0", "id": "mine"})
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("answer", "BYTES", [2])
    assert [json.loads(text) for text in tensor["data"]] == [ANSWER, NO_FACE.to_dict()]


def test_where_no_file_was_judged_the_error_is_a_string():
    status, record = respond(parse({"inputs": [TENSOR], "parameters": {"binary_data_output": True}}), [NO_FACE])
    assert (status, record["error"]) == (422, "no_face: no face")
    assert json.loads(record["outputs"][0]["data"][0]) == NO_FACE.to_dict()


@pytest.mark.parametrize(
    "wish",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "answer", "parameters": {"binary_data": True}}]},
    ],
)
def test_the_output_may_follow_the_json(wish):
    response = render(parse({"inputs": [TENSOR], **wish}), [ANSWER], "video", "1.0")
    head_bytes = int(response.headers["Inference-Header-Content-Length"])
    record, rest = json.loads(response.body[:head_bytes]), response.body[head_bytes:]
    (tensor,) = record["outputs"]
    assert "data" not in tensor
    assert tensor["parameters"]["binary_data_size"] == len(rest) == 4 + int.from_bytes(rest[:4], "little")
    assert json.loads(rest[4:]) == ANSWER
    plain = {"outputs": [{"name": "answer", "parameters": {"binary_data": False}}]}
    assert not parse({"inputs": [TENSOR], "parameters": {"binary_data_output": True}, **plain}).wants_binary


def test_an_error_in_what_cannot_be_read_is_a_string_by_kserves_paths_alone():
    for headers, is_string in ((HTTP, True), (HTTP | {"url_path": ""}, False)):
        request = parse_request({"body": bytearray(b"{")}, JSON | headers)
        status, record = respond(request, request.entries)
        assert status == 400
        assert isinstance(record["error"], str) is is_string


def test_json_without_a_type_is_json_by_kserves_paths_as_tritonclient_sends_it():
    content = bytearray(json.dumps({"inputs": [TENSOR]}).encode())
    assert parse_request({"body": content}, HTTP).entries == [Item(MEDIA)]
    assert parse_request({"body": content}, HTTP | {"url_path": ""}).entries == [Item(bytes(content))]
