"""One request and what it was answered: what the metrics and the request log are made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handlers.request import Outcome, Request, header
from model_defs.errors import DetectionError
from model_defs.inference.engine import Item

PLAIN_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")  # what a proxy's own request id looks like
REQUEST_START = re.compile(r"t=(\d{10}\.\d{3})")  # nginx's "t=$msec", the form that other servers read as well


@dataclass(frozen=True)
class Exchange:
    """One request and what it was answered.

    Attributes:
        request_id: TorchServe's; the caller finds it in the header `x-request-id`, over gRPC in the body.
        status: HTTP status; over gRPC the one that the body names.
        sizes_bytes: of each file; 0 where the request was refused before there was one.
        outcomes: an answer or a refusal for each file.
        caller_request_id: the header `X-Request-Id` that came with the request, if it can stand in a log as it is.
        sent_s: when a proxy passed the request on, in seconds since 1970, by its header `X-Request-Start`.
    """

    request_id: str
    transport: Literal["http", "grpc"]
    status: int
    sizes_bytes: Sequence[int]
    outcomes: Sequence[Outcome]
    caller_request_id: str = ""
    sent_s: float | None = None

    @classmethod
    def of(cls, context: Any, index: int, request: Request, outcomes: Sequence[Outcome]) -> Exchange:
        """The exchange of request `index` of a batch, whose status is set on TorchServe's `context`."""
        headers = context.get_all_request_header(index)
        caller_request_id = header(headers, "x-request-id") or ""
        sent = REQUEST_START.fullmatch(header(headers, "x-request-start") or "")
        return cls(
            request_id=context.get_request_id(index) or "",
            transport="grpc" if request.is_grpc else "http",
            status=context.get_response_status(index)[0],
            sizes_bytes=[_size_bytes(entry) for entry in request.entries],
            outcomes=outcomes,
            caller_request_id=caller_request_id if PLAIN_WORD.fullmatch(caller_request_id) else "",
            sent_s=float(sent[1]) if sent else None,
        )


@dataclass(frozen=True)
class Batch:
    """Requests that were handled together.

    Attributes:
        duration_s: from their arrival at the handler to the last answer; every request of a batch takes as long.
        arrived_s: when that was, in seconds since 1970.
    """

    exchanges: Sequence[Exchange]
    duration_s: float
    arrived_s: float


def _size_bytes(entry: Item | DetectionError) -> int:
    return len(entry.data) if isinstance(entry, Item) and isinstance(entry.data, bytes) else 0
