"""Every form of a request means the same thing, and every body is safe to send."""

from __future__ import annotations

import base64
import json

import pytest

from handlers.contract import parse_request, render
from handlers.payload import MAX_FILES
from handlers.request import Request
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.engine import Item
from model_defs.inference.options import DetectOptions

MEDIA = b"\x00\x00\x00 ftypisom"
TEXT = base64.b64encode(MEDIA).decode()
JSON_PART = {"content-type": "application/json"}
ODD_NAME = "kl\u00f6\u00f6n\n\u540d.mp4"


def only(row: dict, headers: dict | None = None) -> Item | DetectionError:
    (entry,) = parse_request(row, headers or {}).entries
    return entry


def refusal(row: dict, headers: dict | None = None) -> ErrorCode:
    entry = only(row, headers)
    assert isinstance(entry, DetectionError)
    return entry.code


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        pytest.param(
            {"body": bytearray(MEDIA)},
            {
                "X-DeepDetect-Options": '{"frames": 7}',
                "Content-Disposition": "attachment; filename*=UTF-8''kl%C3%B6%C3%B6n%0A%E5%90%8D.mp4",
            },
            id="raw",
        ),
        pytest.param(
            {"data": bytearray(MEDIA), "frames": bytearray(b"7"), "file_name": bytearray(ODD_NAME.encode())},
            {"data": {"content-type": "video/mp4"}},
            id="multipart or gRPC",
        ),
        pytest.param({"body": {"data": TEXT, "file_name": ODD_NAME, "frames": 7}}, {}, id="decoded JSON"),
        pytest.param(
            {"body": bytearray(json.dumps({"b64": TEXT, "file_name": ODD_NAME, "options": {"frames": 7}}).encode())},
            {"body": {"content-type": "Application/JSON"}},
            id="JSON bytes",
        ),
        pytest.param(
            {"body": {"instances": [{"b64": TEXT, "file_name": ODD_NAME}], "parameters": {"frames": 7}}}, {}, id="v1"
        ),
        pytest.param(
            {
                "body": {
                    "parameters": {"frames": 7, "file_name": ODD_NAME},
                    "inputs": [{"name": "clip", "shape": [1], "datatype": "BYTES", "data": [TEXT]}],
                }
            },
            {},
            id="v2",
        ),
        pytest.param({"frames": "7", "file_name": ODD_NAME, "body": bytearray(MEDIA)}, {}, id="query parameters"),
    ],
)
def test_all_forms_give_the_same_item(row, headers):
    assert only(row, headers) == Item(MEDIA, ODD_NAME, DetectOptions(frames=7))


@pytest.mark.parametrize(
    "form",
    [
        "AP_-__8B",
        "AP/+//8B",
        "data:video/mp4;base64,AP/+//8B",
        "DATA:application/octet-stream;codecs=x;base64,AP_-__8B",
        "AP/+\n //8B\r\n",
    ],
)
def test_base64_comes_in_many_forms(form):
    assert only({"body": {"data": form}}).data == b"\x00\xff\xfe\xff\xff\x01"


@pytest.mark.parametrize("form", ["AP8=", "AP8", "AP8==", "data:;base64,AP8"])
def test_base64_may_lack_its_padding(form):
    assert only({"body": {"data": form}}).data == b"\x00\xff"


def test_a_missing_file_is_said_to_be_missing():
    for body in ({"options": {}}, {"instances": [{"options": {}}]}):
        assert "'data' is missing" in only({"body": body}).message


def test_two_parts_of_one_name_are_refused_and_many_short_ones_are_not():
    headers = {"Content-Type": "multipart/form-data; boundary=x", "content-length": "9000"}
    assert "same name" in only({"data": bytearray(MEDIA)}, headers).message
    assert only({"data": bytearray(8_500), "frames": bytearray(b"7")}, headers).options.frames == 7
    assert isinstance(only({"body": bytearray(MEDIA)}, {"content-length": "9000"}), Item)


def test_a_file_name_may_follow_the_version_in_the_url():
    assert only({"body": bytearray(MEDIA)}, {"url_path": "clip.mp4"}).file_name == "clip.mp4"
    assert only({"body": bytearray(MEDIA)}, {"url_path": ""}).file_name == ""


def test_text_that_the_server_decoded_is_still_the_file():
    assert only({"body": "h\u00e9llo"}).data == "h\u00e9llo".encode()


def test_base64_may_be_wrapped_into_lines():
    assert only({"body": {"data": f"{TEXT[:8]}\r\n{TEXT[8:]}\n"}}).data == MEDIA


def test_an_instance_may_be_text_or_nested():
    request = parse_request({"body": {"instances": [TEXT, {"data": {"b64": TEXT}}]}}, {})
    assert [entry.data for entry in request.entries] == [MEDIA, MEDIA]


def test_options_of_an_instance_win_over_those_of_the_request():
    body = {"parameters": {"frames": 3}, "instances": [{"b64": TEXT, "options": {"frames": 5}}, {"b64": TEXT}]}
    assert [entry.options.frames for entry in parse_request({"body": body}, {}).entries] == [5, 3]


def test_utf8_in_a_header_survives_the_servers_latin1():
    mangled = 'attachment; filename="é.mp4"'.encode().decode("latin-1")
    assert only({"body": MEDIA}, {"content-disposition": mangled}).file_name == "é.mp4"


@pytest.mark.parametrize(
    ("row", "headers", "code"),
    [
        ({}, {}, ErrorCode.EMPTY_BODY),
        ({"body": bytearray()}, {}, ErrorCode.EMPTY_BODY),
        ({"body": bytearray()}, {"body": JSON_PART}, ErrorCode.EMPTY_BODY),
        ({"other": bytearray(b"x")}, {"content-type": "application/x-www-form-urlencoded"}, ErrorCode.BAD_REQUEST),
        ({"body": bytearray(b"{")}, {"body": JSON_PART}, ErrorCode.BAD_REQUEST),
        ({"body": bytearray(b"[" * 100_000)}, {"body": JSON_PART}, ErrorCode.BAD_REQUEST),
        ({"body": bytearray(b"\xff{}")}, {"body": JSON_PART}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": ""}}, {}, ErrorCode.EMPTY_BODY),
        ({"body": None}, {}, ErrorCode.BAD_REQUEST),
        ({"body": [TEXT]}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": "not base64!"}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": "caf\u00e9"}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": 7}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": f"data:video/mp4,{TEXT}"}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": TEXT, "colour": 3}}, {}, ErrorCode.BAD_OPTION),
        ({"body": {"data": TEXT, "options": {"colour": 3}}}, {}, ErrorCode.BAD_OPTION),
        ({"body": {"data": TEXT, "options": [3]}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": TEXT, "file_name": 3}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"data": TEXT, "file_name": "x" * 2_000}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"instances": []}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"instances": TEXT}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"instances": [TEXT] * (MAX_FILES + 1)}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"instances": [7]}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"inputs": [{"datatype": "FP32", "data": [1.0]}]}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"inputs": [{"datatype": "BYTES"}]}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": {"inputs": [{"datatype": "BYTES", "data": [TEXT] * MAX_FILES}] * 2}}, {}, ErrorCode.BAD_REQUEST),
        ({"body": MEDIA}, {"x-deepdetect-options": "{"}, ErrorCode.BAD_REQUEST),
        ({"body": MEDIA}, {"x-deepdetect-options": '{"colour": 1}'}, ErrorCode.BAD_OPTION),
        ({"data": MEDIA, "colour": bytearray(b"1")}, {}, ErrorCode.BAD_OPTION),
        ({"data": MEDIA, "frames": bytearray(b"\xff")}, {}, ErrorCode.BAD_OPTION),
        ({"data": MEDIA, "file": MEDIA}, {}, ErrorCode.BAD_OPTION),
    ],
)
def test_what_is_malformed_is_refused(row, headers, code):
    assert refusal(row, headers) is code


def test_a_part_called_like_a_header_is_not_taken_for_one():
    entry = only({"data": MEDIA}, {"content-disposition": {"content-type": "video/mp4"}, "data": {}})
    assert entry == Item(MEDIA)


def test_one_bad_instance_does_not_spoil_the_others():
    entries = parse_request({"body": {"instances": [TEXT, "?", TEXT]}}, {}).entries
    assert [isinstance(entry, Item) for entry in entries] == [True, False, True]


NO_FACE = DetectionError(ErrorCode.NO_FACE, "no face \u2014 none")
ERROR = NO_FACE.to_dict()["error"]
ANSWER = {"prediction": "Fake"}


def body(request: Request, outcomes: list) -> tuple[int, dict]:
    response = render(request, outcomes, "video", "1.0")
    assert response.body.isascii()
    return response.status, json.loads(response.body)


def test_plain_requests_get_the_answer_itself():
    assert body(Request([Item(MEDIA)]), [ANSWER]) == (200, ANSWER)
    assert body(Request([Item(MEDIA)]), [NO_FACE]) == (422, {"error": ERROR})


def test_v1_keeps_the_order_and_fails_only_when_all_do():
    request = Request([Item(MEDIA)] * 2, "v1")
    assert body(request, [NO_FACE, ANSWER]) == (200, {"predictions": [{"error": ERROR}, ANSWER]})
    assert body(request, [NO_FACE, NO_FACE]) == (422, {"error": ERROR, "predictions": [{"error": ERROR}] * 2})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", object()])
def test_what_is_not_json_becomes_an_error_not_a_broken_body(value):
    status, record = body(Request([Item(MEDIA)]), [{"p_fake": value}])
    assert (status, record["error"]["code"]) == (500, "internal")


def test_a_lone_surrogate_in_a_file_name_can_be_sent_back():
    assert body(Request([Item(MEDIA)]), [{"file_name": "\ud800"}]) == (200, {"file_name": "\ud800"})


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        pytest.param({"body": bytearray(MEDIA)}, True, id="raw"),
        pytest.param({"data": bytearray(MEDIA), "explain": bytearray(b"false")}, False, id="multipart"),
        pytest.param({"body": {"data": TEXT, "explain": ["scores"]}}, ["scores"], id="JSON"),
        pytest.param({"body": {"instances": [{"b64": TEXT}]}}, True, id="v1"),
    ],
)
def test_the_doors_for_explanations_explain_unless_told_otherwise(row, asked):
    wanted = DetectOptions.parse({"explain": asked})
    assert only(row, {"explain": "True"}).options == wanted
    assert only(row, {"explain": "False"}).options == (wanted if asked == ["scores"] else DetectOptions())


def test_v1_explanations_are_named_as_kserve_names_them():
    request = parse_request({"body": {"instances": [{"b64": TEXT}]}}, {"explain": "True"})
    assert json.loads(render(request, [{"p": 1}], "m", "1").body) == {"explanations": [{"p": 1}]}
