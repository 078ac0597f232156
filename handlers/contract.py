"""The request contract on the wire: TorchServe rows in, JSON bodies out.

One row is one request. Whatever form it came in, it becomes a list of items:

    raw body    the file itself; options as JSON in the header X-DeepDetect-Options,
                the file's name in Content-Disposition
    multipart   the file as part `data`; options and `file_name` as further parts
    gRPC        `Predictions` with the file as input `data`; options and `file_name` as further inputs
    JSON        {"data": "<base64>", "file_name": "clip.mp4", "frames": 16}; options may also stand in "options"
    v1          {"instances": [{"b64": "<base64>", "file_name": ..., "frames": ...}, ...]}
    v2          {"id": ..., "parameters": {options}, "inputs": [{"datatype": "BYTES", "data": ["<base64>", ...]}]}

Under `/explanations`, and KServe's `:explain` and `/explain`, the option `explain` is true unless it is given.

The first four are answered with the answer itself, v1 with {"predictions": [...]} or {"explanations": [...]},
v2 with one BYTES tensor that holds an answer as JSON text for each file.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any, Literal

from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.engine import Item
from model_defs.inference.options import DetectOptions

PAYLOAD_NAMES = ("data", "body")
OPTIONS_HEADER = "x-deepdetect-options"
EXPLAIN_HEADER = "explain"  # TorchServe sets it, to True or False, by the door
MAX_FILE_NAME_CHARS = 1_024
MAX_FILES = 8  # in one v1 or v2 request; all of them are judged before a neighbour in the batch is answered

Outcome = dict | DetectionError


@dataclass(frozen=True)
class Request:
    """One row: what it asks to have judged, and the form in which it wants its answer."""

    entries: Sequence[Item | DetectionError]
    form: Literal["plain", "v1", "v2"] = "plain"
    id: str = ""  # a v2 caller's own name for the request
    explains: bool = False  # it came by a door for explanations


def parse_request(row: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
    """The request in one row; what is wrong with it becomes an entry, nothing is raised.

    Args:
        row: parameter name -> value, as TorchServe hands it to a handler.
        headers: request headers and, by parameter name, each part's own headers.
    """
    try:
        explains = header(headers, EXPLAIN_HEADER) == "True"
        return replace(_parse(row, headers, {"explain": True} if explains else {}), explains=explains)
    except DetectionError as refusal:
        return Request([refusal])
    except Exception as error:  # a fault of ours costs this request, not its neighbours
        return Request([DetectionError(ErrorCode.INTERNAL, f"{type(error).__name__} while reading the request")])


def render(request: Request, outcomes: Sequence[Outcome], model: str, version: str) -> tuple[int, str]:
    """HTTP status and JSON body (ASCII, no NaN) of one request.

    Args:
        outcomes: an answer or a refusal for each entry of the request.
        model: model name, and
        version: its version, for the v2 form.

    Returns:
        The status is 200 if anything was judged, else that of the first refusal.
    """
    texts, refusals = zip(*(_to_json(outcome) for outcome in outcomes), strict=True)
    first = next((refusal for refusal in refusals if refusal), None)
    status = first.code.status if first and all(refusals) else 200
    if request.form == "plain":
        return status, texts[0]
    if request.form == "v1":
        body = f'"{"explanations" if request.explains else "predictions"}": [{", ".join(texts)}]'
    else:
        tensor = {"name": "answer", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
        record = {"model_name": model, "model_version": version, "id": request.id, "outputs": [tensor]}
        body = json.dumps(record)[1:-1]
    if status != 200:
        body = f"{json.dumps(first.to_dict())[1:-1]}, {body}"
    return status, f"{{{body}}}"


def _to_json(outcome: Outcome) -> tuple[str, DetectionError | None]:
    refusal = outcome if isinstance(outcome, DetectionError) else None
    if refusal is None:
        try:
            return json.dumps(outcome, allow_nan=False), None
        except (TypeError, ValueError) as error:
            refusal = DetectionError(ErrorCode.INTERNAL, f"the answer is not JSON: {error}")
    return json.dumps(refusal.to_dict()), refusal


def _parse(row: Mapping[str, Any], headers: Mapping[str, Any], defaults: Mapping[str, Any]) -> Request:
    fields = {name: value for name, value in row.items() if name != "model_name"}  # /invocations names the model so
    name = next((name for name in PAYLOAD_NAMES if name in fields), None)
    if name is None:
        if "form-urlencoded" in (header(headers, "content-type") or ""):
            message = "the body was sent as a web form; use `curl -T FILE`, or -H 'Content-Type: application/json'"
            raise DetectionError(ErrorCode.BAD_REQUEST, message)
        raise DetectionError(ErrorCode.EMPTY_BODY, f"no file was sent; it is expected as part {PAYLOAD_NAMES[0]!r}")
    payload = fields.pop(name)
    file_name = _text(fields.pop("file_name", None)) or _disposition_name(headers)
    options = defaults | _header_options(headers) | {key: _text(value) for key, value in fields.items()}
    if not payload and isinstance(payload, (bytes, bytearray, str)):
        raise DetectionError(ErrorCode.EMPTY_BODY, "the body is empty; a video or audio file is expected")
    if _is_json(payload, headers.get(name)):
        return _parse_json(_loads(payload, "the body"), options, file_name)
    data = payload.encode() if isinstance(payload, str) else bytes(payload)
    return Request([_item(data, file_name, options)])


def _is_json(payload: Any, part_headers: Any) -> bool:
    if not isinstance(payload, (bytes, bytearray, str)):  # TorchServe has decoded it already
        return True
    return "json" in str(part_headers.get("content-type", "")).lower() if isinstance(part_headers, Mapping) else False


def _parse_json(record: Any, options: Mapping[str, Any], file_name: str) -> Request:
    if not isinstance(record, Mapping):
        raise _bad("the body", "is not a JSON object")
    if "instances" in record:
        _allow("the body", record, "instances", "parameters", "signature_name")
        shared = {**options, **_object("parameters", record.get("parameters"))}
        parts = _list("instances", record["instances"])
        return Request([_entry(part, shared, file_name) for part in parts], "v1")
    if "inputs" in record:
        _allow("the body", record, "id", "inputs", "outputs", "parameters")
        shared = {**options, **_object("parameters", record.get("parameters"))}
        tensors = _list("inputs", record["inputs"])
        parts = _list("inputs", [part for tensor in tensors for part in _tensor_parts(tensor)])
        return Request([_entry(part, shared, file_name) for part in parts], "v2", str(record.get("id", "")))
    return Request([_entry(record, options, file_name)])


def _entry(part: Any, options: Mapping[str, Any], file_name: str) -> Item | DetectionError:
    """One file of a JSON request; a bad one does not spoil the others."""
    try:
        if isinstance(part, str):
            part = {"b64": part}
        if not isinstance(part, Mapping):
            raise _bad("an instance", "is neither base64 text nor an object")
        members = dict(part)
        encoded = next((members.pop(key) for key in ("data", "b64") if key in members), None)
        if isinstance(encoded, Mapping):  # TensorFlow Serving's {"data": {"b64": ...}}
            encoded = encoded.get("b64")
        wanted = {**options, **_object("options", members.pop("options", None)), **members}
        name = wanted.pop("file_name", None) or file_name
        return _item(_from_base64(encoded), name, wanted)
    except DetectionError as refusal:
        return refusal


def _item(data: bytes, file_name: Any, options: Mapping[str, Any]) -> Item:
    if not data:
        raise DetectionError(ErrorCode.EMPTY_BODY, "the file is empty; a video or audio file is expected")
    if not isinstance(file_name, str) or len(file_name) > MAX_FILE_NAME_CHARS:
        raise _bad("file_name", f"is not text of at most {MAX_FILE_NAME_CHARS} characters")
    return Item(data, file_name, DetectOptions.parse(options))


def _from_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii").translate(None, b"\r\n"), validate=True)
    except (AttributeError, ValueError, binascii.Error):
        raise _bad("'data'", "is not base64 text") from None


def _tensor_parts(tensor: Any) -> list[dict[str, Any]]:
    if not isinstance(tensor, Mapping) or tensor.get("datatype") != "BYTES":
        raise _bad("'inputs'", "must hold tensors of datatype BYTES with base64 text")
    options = _object("inputs.parameters", tensor.get("parameters"))
    return [{"b64": text, "options": options} for text in _list("inputs.data", tensor.get("data"))]


def _header_options(headers: Mapping[str, Any]) -> dict[str, Any]:
    text = header(headers, OPTIONS_HEADER)
    return dict(_object(OPTIONS_HEADER, _loads(text, f"the header {OPTIONS_HEADER}"))) if text else {}


def _disposition_name(headers: Mapping[str, Any]) -> str:
    message = Message()
    message["Content-Disposition"] = " ".join((header(headers, "content-disposition") or "").split())
    return message.get_filename() or ""


def header(headers: Mapping[str, Any], name: str) -> str | None:
    """A request header, by its name in lower case; those of parts are mappings, and are not meant here."""
    value = next((value for key, value in headers.items() if key.lower() == name and isinstance(value, str)), None)
    try:
        return value and value.encode("latin-1").decode()  # the server reads UTF-8 header bytes as Latin-1
    except UnicodeError:
        return value


def _text(value: Any) -> Any:
    return bytes(value).decode(errors="replace") if isinstance(value, (bytes, bytearray)) else value


def _loads(payload: Any, where: str) -> Any:
    if not isinstance(payload, (bytes, bytearray, str)):
        return payload
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise _bad(where, "is not valid JSON") from None


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise _bad(repr(name), "is not a JSON object")
    return value or {}


def _list(name: str, value: Any) -> list:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_FILES:
        raise _bad(repr(name), f"is not a list with 1 to {MAX_FILES} elements")
    return value


def _allow(where: str, record: Mapping[str, Any], *names: str) -> None:
    if unknown := set(record) - set(names):
        raise _bad(where, f"has unknown fields {sorted(map(str, unknown))}; allowed: {', '.join(names)}")


def _bad(where: str, problem: str) -> DetectionError:
    return DetectionError(ErrorCode.BAD_REQUEST, f"{where} {problem}")
