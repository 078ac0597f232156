"""What is kept of a request for metrics and logs."""

from __future__ import annotations

import pytest
from ts.context import Context, RequestProcessor

from handlers.exchange import Exchange
from handlers.request import Request, is_grpc
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.engine import Item

REFUSAL = DetectionError(ErrorCode.EMPTY_BODY, "nothing")


def context(headers: dict) -> Context:
    context = Context("video", "", {}, 1, None, "0.12.0")
    context.request_ids = {0: "id-1"}
    context.request_processor = [RequestProcessor(headers)]
    context.set_response_status(422, "Unprocessable Entity", 0)
    return context


def test_sizes_are_those_of_the_files_that_there_were():
    request = Request([Item(b"12345"), REFUSAL], "v1")
    exchange = Exchange.of(context({"Host": "localhost"}), 0, request, ["judged", REFUSAL])
    assert exchange == Exchange("id-1", "http", 422, [5, 0], ["judged", REFUSAL])


def test_grpc_is_told_by_its_want_of_headers():
    assert is_grpc({"data": {"content-type": ""}})
    assert not is_grpc({"Host": "localhost", "data": {"content-type": ""}})


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a1b2-c3.D_4", "a1b2-c3.D_4"),
        ("x" * 64, "x" * 64),
        ("x" * 65, ""),
        ("a b", ""),
        ("a\nb", ""),
        ("ä", ""),
        ("", ""),
    ],
)
def test_a_callers_own_id_is_kept_if_it_is_a_plain_word(sent, kept):
    exchange = Exchange.of(context({"X-Request-ID": sent}), 0, Request([REFUSAL]), [REFUSAL])
    assert exchange.caller_request_id == kept


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("t=1795515915.123", 1795515915.123),
        *((bad, None) for bad in ("1795515915123", "t=nan", "t=1e9", "t=1795515915.1\n")),
    ],
)
def test_when_a_proxy_passed_it_on_is_read_in_the_form_of_nginx_alone(sent, kept):
    exchange = Exchange.of(context({"X-Request-Start": sent}), 0, Request([REFUSAL]), [REFUSAL])
    assert exchange.sent_s == kept
