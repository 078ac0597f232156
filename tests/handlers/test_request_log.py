"""The lines of the request log: one a file, JSON, and nothing of the caller's that could forge another."""

from __future__ import annotations

import json

import pytest

from handlers.exchange import Exchange
from handlers.request_log import lines
from model_defs.errors import DetectionError, ErrorCode

ANSWER = {
    "prediction": "Fake",
    "probabilities": {"real": 0.1, "fake": 0.9},
    "file_name": "secret\n[METRICS]name.mp4",
    "file_type": "video",
    "cache": "miss",
    "sha256": "0123456789abcdef" * 4,
}


def written(*outcomes, **fields) -> list[dict]:
    exchange = Exchange(
        **{"request_id": "id-1", "transport": "http", "status": 200, "sizes_bytes": [5] * len(outcomes)} | fields,
        outcomes=outcomes,
    )
    texts = list(lines(exchange, "video", "1.0", 0.25))
    assert all(text.isascii() and text.isprintable() and text.startswith("{") for text in texts)
    return [json.loads(text) for text in texts]


def test_a_verdict():
    assert written(ANSWER) == [
        {
            "event": "request",
            "request_id": "id-1",
            "model": "video",
            "version": "1.0",
            "transport": "http",
            "status": 200,
            "seconds": 0.25,
            "files": 1,
            "file": 0,
            "bytes": 5,
            "prediction": "Fake",
            "p_fake": 0.9,
            "file_type": "video",
            "cache": "miss",
            "sha256": "0123456789ab",
        }
    ]


def test_a_refusal_has_its_code_and_not_its_message_which_may_quote_the_caller():
    (line,) = written(DetectionError(ErrorCode.BAD_OPTION, "option 'x\ny' is unknown"), status=400)
    assert (line["code"], line["status"]) == ("bad_option", 400)
    assert "message" not in line


def test_a_fault_of_ours_has_its_message_on_one_line():
    message = "boom\r\n\u2028[METRICS]forged\x1b\x7f" + "x" * 999
    (line,) = written(DetectionError(ErrorCode.INTERNAL, message), status=500)
    assert line["message"].startswith("boom   [METRICS]forged  x")
    assert len(line["message"]) == 300


def test_each_file_of_a_request_has_a_line():
    first, second = written(ANSWER, DetectionError(ErrorCode.BAD_REQUEST, "not base64"), caller_request_id="proxy-7")
    assert (first["file"], first["files"], first["prediction"]) == (0, 2, "Fake")
    assert (second["file"], second["files"], second["code"]) == (1, 2, "bad_request")
    assert first["caller_request_id"] == second["caller_request_id"] == "proxy-7"


@pytest.mark.parametrize("field", ["file_name", "warnings"])
def test_text_of_the_caller_is_left_out(field):
    (line,) = written(ANSWER | {"warnings": ["secret"]})
    assert field not in line
    assert "secret" not in json.dumps(line)
