"""One request to a handler and its response, whatever protocol they came by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from model_defs.errors import DetectionError
from model_defs.inference.engine import Item

Outcome = dict[str, Any] | DetectionError


@dataclass(frozen=True)
class Request:
    """One row: what it asks to have judged, and the form in which it wants its answer.

    Attributes:
        id: a v2 caller's own name for the request.
        explains: it came by an endpoint for explanations.
        is_grpc: it came by gRPC.
        wants_binary: a v2 caller's wish to have the output tensor after the JSON.
        remarks: warnings for every answer, such as on parameters that were ignored.
        probe: of a request without files: the metadata or readiness that is asked for, see `handlers.probes`.
    """

    entries: Sequence[Item | DetectionError]
    form: Literal["plain", "v1", "v2"] = "plain"
    id: str = ""
    explains: bool = False
    is_grpc: bool = False
    wants_binary: bool = False
    remarks: tuple[str, ...] = ()
    probe: str = ""


@dataclass(frozen=True)
class Response:
    """What is sent back; everything but the body is plain ASCII without line breaks."""

    status: int
    body: str | bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, context: Any, index: int, is_grpc: bool) -> str | bytes:
        """Sets status and headers on TorchServe's `context`; returns the body to be given back for this request."""
        # The phrase and headers hold nothing of the caller's: TorchServe miscounts what is not plain ASCII.
        context.set_response_status(self.status, HTTPStatus(self.status).phrase, index)
        context.set_response_content_type(index, self.content_type)
        for name, value in self.headers.items():
            context.set_response_header(index, name, value)
        if not is_grpc or isinstance(self.body, bytes):
            return self.body
        # StreamPredictions never ends, and takes the worker down, without this.
        context.set_response_header(index, "ts_stream_next", "false")
        # TorchServe answers HTTP with this id as a header, and leaves it out of gRPC.
        return f'{{"request_id": "{context.get_request_id(index)}", {self.body[1:]}'


def header(headers: Mapping[str, Any], name: str) -> str | None:
    """A request header, by its name in lower case; those of parts are mappings, and are not meant here."""
    value = next((value for key, value in headers.items() if key.lower() == name and isinstance(value, str)), None)
    try:
        return value and value.encode("latin-1").decode()  # the server reads UTF-8 header bytes as Latin-1
    except UnicodeError:
        return value


def is_grpc(headers: Mapping[str, Any]) -> bool:
    """Only gRPC brings no request headers, just those of its parts."""
    return not any(isinstance(value, str) for value in headers.values())
