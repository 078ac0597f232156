"""What a reply of the server means: an answer or a refusal in the request contract, or an error of the call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import grpc
import requests

from client.errors import (
    ClientError,
    ClientUnknown,
    KeyRefused,
    RateLimited,
    RequestFailed,
    ServerUnavailable,
    TimedOut,
)

UNAVAILABLE_STATUSES = (429, 502, 503)
TIMED_OUT_STATUSES = (408, 504)
NO_WORKER = "has no worker to serve inference request"  # TorchServe says so of a full queue, too
TORCHSERVE_KEY_ERROR = "InvalidKeyException"


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status; over gRPC, which does not carry it, the one that the body names.
        body: the answer, or `{"error": ...}`.
        request_id: by which the server's request log knows this request.
    """

    status: int
    body: dict[str, Any]
    request_id: str = ""

    @property
    def error_code(self) -> str | None:
        return self.body["error"]["code"] if "error" in self.body else None


def http_reply(response: requests.Response) -> Reply:
    """The reply, where the answer is one in the contract; an error where TorchServe or a proxy speaks for itself."""
    raise_if_key_refused(response)
    body = _record(response)
    status, error = response.status_code, body.get("error")
    ours = error if isinstance(error, dict) else {}
    text = ours.get("message") or body.get("message") or response.text[:200] or response.reason
    if status == 401:
        raise ClientUnknown(f"{response.url}: {text}")
    if status == 503 and NO_WORKER in text:
        text = f"the queue of the model is full, or it has no worker (TorchServe says: {text})"
    if status in UNAVAILABLE_STATUSES:
        kind = RateLimited if status == 429 else ServerUnavailable
        raise kind(f"{response.url}: {status} {text}", _retry_after_s(response.headers.get("Retry-After")))
    if status in TIMED_OUT_STATUSES:
        raise TimedOut(f"{response.url}: {status} {text}")
    if not body or (status >= 400 and "code" not in ours):
        raise RequestFailed(status, text)
    return Reply(status, body, response.headers.get("x-request-id", ""))


def raise_if_key_refused(response: requests.Response) -> None:
    """Raises `KeyRefused` for the 400 with which TorchServe refuses a key."""
    if response.status_code == 400 and _record(response).get("type") == TORCHSERVE_KEY_ERROR:
        raise KeyRefused(f"{response.url}: {_record(response)['message']}")


def grpc_reply(prediction: bytes) -> Reply:
    """The reply that a prediction holds; `ServerUnavailable` where over HTTP it would have been a 503."""
    body = json.loads(prediction)
    if "error" in body and body["error"]["status"] in UNAVAILABLE_STATUSES:  # gRPC has it as the body of an OK
        raise ServerUnavailable(body["error"]["message"])
    request_id = body.pop("request_id", "")  # a header of the answer over HTTP
    return Reply(body["error"]["status"] if "error" in body else 200, body, request_id)


def grpc_error(error: grpc.RpcError, address: str) -> ClientError:
    """The error of the call that a gRPC status stands for."""
    code, details = error.code(), f"{address}: {error.details()}"
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return KeyRefused(details)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return ClientUnknown(details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(details)
    if code is grpc.StatusCode.UNAVAILABLE:
        told = {name: value for name, value in error.trailing_metadata() or () if name == "retry-after"}
        kind = RateLimited if told else ServerUnavailable
        return kind(details, _retry_after_s(told.get("retry-after")))
    return RequestFailed(code.name, details)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header; None where it is a date or is not there."""
    return float(value) if value and value.isdecimal() else None


def _record(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
