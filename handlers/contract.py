"""The request contract on the wire: TorchServe rows in, JSON bodies out.

One row is one request. Whatever form it came in, it becomes a list of items:

    raw body    the file itself; options as JSON in the header X-DeepDetect-Options,
                the file's name in Content-Disposition, or after the version in the URL
    multipart   the file as part `data`; options and `file_name` as further parts
    gRPC        `Predictions` with the file as input `data`; options and `file_name` as further inputs
    JSON        {"data": "<base64>", "file_name": "clip.mp4", "frames": 16}; options may also stand in "options"
    v1          {"instances": [{"b64": "<base64>", "file_name": ..., "frames": ...}, ...]}
    v2          the Open Inference Protocol, see handlers/open_inference.py

Under `/explanations`, and KServe's `:explain` and `/explain`, the option `explain` is true unless it is given.

The first four are answered with the answer itself, v1 with {"predictions": [...]} or {"explanations": [...]},
v2 with one BYTES tensor that holds an answer as JSON text for each file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.message import Message
from pathlib import PurePosixPath
from typing import Any, Literal

from handlers import open_inference
from handlers.payload import as_list, as_object, bad, from_base64, inflate, loads, text
from handlers.probes import PROBE_HEADER, PROBES
from handlers.request import Outcome, Request, Response, header, is_grpc
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.engine import Item
from model_defs.inference.options import DetectOptions
from model_defs.limits import Limits

PAYLOAD_NAMES = ("data", "body")
OPTIONS_HEADER = "x-deepdetect-options"
EXPLAIN_HEADER = "explain"  # TorchServe sets it, to True or False, by the endpoint
PATH_HEADER = "url_path"  # TorchServe sets it to what follows /predictions/{model}/{version}/; KServe's paths have none
MAX_FILE_NAME_CHARS = 1_024
IGNORED_PARAMETERS = "ignored_parameters"  # code of the only remark that there is
JSON_BYTES = 2**20  # of a body besides the base64 of its file
PART_HEAD_BYTES = 2_048  # the boundary and the headers of one part of a multipart body are shorter


def parse_request(row: Mapping[str, Any], headers: Mapping[str, Any], max_bytes: int = Limits.max_bytes) -> Request:
    """The request in one row; what is wrong with it becomes an entry, nothing is raised.

    Args:
        row: parameter name -> value, as TorchServe hands it to a handler.
        headers: request headers and, by parameter name, each part's own headers.
        max_bytes: the most that one file may have; a compressed body is not unpacked beyond what can carry it.
    """
    grpc, explains = is_grpc(headers), header(headers, EXPLAIN_HEADER) == "True"
    try:
        if (probe := header(headers, PROBE_HEADER)) in PROBES:
            return Request([], probe=probe)
        request = _parse(row, headers, {"explain": True} if explains else {}, max_bytes * 4 // 3 + JSON_BYTES)
    except DetectionError as error:
        request = Request([error], _form_of_errors(headers))
    except Exception as error:  # a fault of ours costs this request, not its neighbours
        fault = DetectionError(ErrorCode.INTERNAL, f"{type(error).__name__} while reading the request")
        request = Request([fault], _form_of_errors(headers))
    return replace(request, explains=explains, is_grpc=grpc)


def render(request: Request, outcomes: Sequence[Outcome], model: str, version: str) -> Response:
    """The response to one request; its JSON is ASCII and has no NaN.

    Args:
        outcomes: an answer or a refusal for each entry of the request.
        model: model name, and
        version: its version, for the v2 form.

    Returns:
        The status is 200 if anything was judged, else that of the first refusal.
    """
    texts, refusals = zip(*(_to_json(outcome, request.remarks) for outcome in outcomes), strict=True)
    first = next((refusal for refusal in refusals if refusal), None)
    error = first if all(refusals) else None
    status = error.code.status if error else 200
    if request.form == "v2":
        return open_inference.render(request, texts, status, error, model, version)
    if request.form == "plain":
        return Response(status, texts[0])
    body = f'"{"explanations" if request.explains else "predictions"}": [{", ".join(texts)}]'
    if error is not None:
        body = f"{json.dumps(error.to_dict())[1:-1]}, {body}"
    return Response(status, f"{{{body}}}")


def _to_json(outcome: Outcome, remarks: Sequence[str]) -> tuple[str, DetectionError | None]:
    if isinstance(outcome, DetectionError):
        refusal = outcome
    else:
        if remarks:
            outcome = {**outcome, "warnings": [*outcome["warnings"], *remarks]}
            if "warning_codes" in outcome:
                outcome["warning_codes"] = [*outcome["warning_codes"], *([IGNORED_PARAMETERS] * len(remarks))]
        try:
            return json.dumps(outcome, allow_nan=False), None
        except (TypeError, ValueError) as error:
            refusal = DetectionError(ErrorCode.INTERNAL, f"the answer is not JSON: {error}")
    return json.dumps(refusal.to_dict()), refusal


def _form_of_errors(headers: Mapping[str, Any]) -> Literal["plain", "v2"]:
    """How an error is told whose request could not be read: KServe's clients want it as a string."""
    has_binary = header(headers, open_inference.JSON_LENGTH_HEADER.lower()) is not None
    return "v2" if has_binary or _is_kserve(headers) else "plain"


def _is_kserve(headers: Mapping[str, Any]) -> bool:
    """Whether the request came by /v1/models/ or /v2/models/."""
    return header(headers, EXPLAIN_HEADER) is not None and header(headers, PATH_HEADER) is None


def _parse(
    row: Mapping[str, Any], headers: Mapping[str, Any], defaults: Mapping[str, Any], max_body_bytes: int
) -> Request:
    fields = {name: value for name, value in row.items() if name != "model_name"}  # /invocations names the model so
    content_type = header(headers, "content-type") or ""
    _check_parts(fields, content_type, header(headers, "content-length"))
    name = next((name for name in PAYLOAD_NAMES if name in fields), None)
    if name is None:
        if "form-urlencoded" in content_type:
            message = "the body was sent as a web form, as curl -d and --data-binary do where no type is given; "
            message += "use `curl -T FILE`, or -H 'Content-Type: application/octet-stream' for a file, application/json"
            raise DetectionError(ErrorCode.BAD_REQUEST, f"{message} for JSON")
        raise DetectionError(ErrorCode.EMPTY_BODY, f"no file was sent; it is expected as part {PAYLOAD_NAMES[0]!r}")
    payload = fields.pop(name)
    file_name = text(fields.pop("file_name", None)) or _disposition_name(headers) or _path_name(headers)
    options = dict(defaults) | _header_options(headers) | {key: text(value) for key, value in fields.items()}
    if not payload and isinstance(payload, (bytes, bytearray, str)):
        raise DetectionError(ErrorCode.EMPTY_BODY, "the body is empty; a video or audio file is expected")
    if isinstance(payload, (bytes, bytearray)):
        payload = inflate(bytes(payload), header(headers, "content-encoding"), max_body_bytes)
    if (length := header(headers, open_inference.JSON_LENGTH_HEADER.lower())) is not None:
        return _parse_binary(payload, length, options, file_name)
    if _is_json(payload, headers.get(name)) or (_is_kserve(headers) and payload[:64].lstrip()[:1] in (b"{", "{")):
        return _parse_json(loads(payload, "the body"), options, file_name, is_grpc(headers))
    data = payload.encode() if isinstance(payload, str) else bytes(payload)
    return Request([_item(data, file_name, options)])


def _check_parts(fields: Mapping[str, Any], content_type: str, content_length: str | None) -> None:
    """Refuses a multipart body with two parts of one name: TorchServe hands on the last, and its length tells."""
    if not content_type.startswith("multipart/") or not content_length or not content_length.isdecimal():
        return
    handed_on = sum(len(value) for value in fields.values() if isinstance(value, (bytes, bytearray, str)))
    if int(content_length) - handed_on > (len(fields) + 1) * PART_HEAD_BYTES:
        message = (
            "two parts of the body have the same name; one file is sent as part 'data', a second by another request"
        )
        raise DetectionError(ErrorCode.BAD_REQUEST, message)


def _is_json(payload: Any, part_headers: Any) -> bool:
    if not isinstance(payload, (bytes, bytearray, str)):  # TorchServe has decoded it already
        return True
    return "json" in str(part_headers.get("content-type", "")).lower() if isinstance(part_headers, Mapping) else False


def _parse_json(record: Any, options: Mapping[str, Any], file_name: str, grpc: bool) -> Request:
    if not isinstance(record, Mapping):
        raise bad("the body", "is not a JSON object")
    if "inputs" in record:
        return _parse_v2(record, b"", options, file_name, grpc)
    if "instances" in record:
        _allow("the body", record, "instances", "parameters", "signature_name")
        shared = {**options, **as_object("parameters", record.get("parameters"))}
        parts = as_list("instances", record["instances"])
        return Request([_entry(part, shared, file_name) for part in parts], "v1")
    return Request([_entry(record, options, file_name)])


def _parse_binary(body: Any, json_length: str, options: Mapping[str, Any], file_name: str) -> Request:
    """A v2 request whose tensors follow its JSON."""
    if not json_length.isdecimal() or not 0 < int(json_length) <= len(body):
        raise bad(f"the header {open_inference.JSON_LENGTH_HEADER}", "is not a length within the body")
    record = loads(body[: int(json_length)], "the JSON before the binary data")
    if not isinstance(record, Mapping) or "inputs" not in record:
        raise bad("the JSON before the binary data", "is not an object with 'inputs'")
    return _parse_v2(record, bytes(body[int(json_length) :]), options, file_name, grpc=False)


def _parse_v2(record: Mapping[str, Any], binary: bytes, options: Mapping[str, Any], name: str, grpc: bool) -> Request:
    form = Request([], "v2", str(record.get("id") or ""))
    try:
        form = replace(form, wants_binary=open_inference.wants_binary(record))
        parts, ignored = open_inference.parse_inputs(record, binary, options, grpc)
    except DetectionError as refusal:
        return replace(form, entries=[refusal])
    remarks = (f"parameters that are not known were ignored: {', '.join(sorted(ignored))}",) if ignored else ()
    return replace(form, entries=[_v2_entry(part, name) for part in parts], remarks=remarks)


def _v2_entry(part: open_inference.Part, file_name: str) -> Item | DetectionError:
    try:
        if isinstance(part["bytes"], DetectionError):
            raise part["bytes"]
        options = dict(part["options"])
        return _item(part["bytes"], options.pop("file_name", None) or file_name, options)
    except DetectionError as refusal:
        return refusal


def _entry(part: Any, options: Mapping[str, Any], file_name: str) -> Item | DetectionError:
    """One file of a JSON request; a bad one does not spoil the others."""
    try:
        if isinstance(part, str):
            part = {"b64": part}
        if not isinstance(part, Mapping):
            raise bad("an instance", "is neither base64 text nor an object")
        members = dict(part)
        encoded = next((members.pop(key) for key in ("data", "b64") if key in members), None)
        if isinstance(encoded, Mapping):  # TensorFlow Serving's {"data": {"b64": ...}}
            encoded = encoded.get("b64")
        wanted = {**options, **as_object("options", members.pop("options", None)), **members}
        name = wanted.pop("file_name", None) or file_name
        return _item(from_base64(encoded), name, wanted)
    except DetectionError as refusal:
        return refusal


def _item(data: bytes, file_name: Any, options: Mapping[str, Any]) -> Item:
    if not data:
        raise DetectionError(ErrorCode.EMPTY_BODY, "the file is empty; a video or audio file is expected")
    if not isinstance(file_name, str) or len(file_name) > MAX_FILE_NAME_CHARS:
        raise bad("file_name", f"is not text of at most {MAX_FILE_NAME_CHARS} characters")
    return Item(data, file_name, DetectOptions.parse(options))


def _header_options(headers: Mapping[str, Any]) -> dict[str, Any]:
    value = header(headers, OPTIONS_HEADER)
    return dict(as_object(OPTIONS_HEADER, loads(value, f"the header {OPTIONS_HEADER}"))) if value else {}


def _disposition_name(headers: Mapping[str, Any]) -> str:
    message = Message()
    message["Content-Disposition"] = " ".join((header(headers, "content-disposition") or "").split())
    return message.get_filename() or ""


def _path_name(headers: Mapping[str, Any]) -> str:
    """`clip.mp4` of /predictions/ensemble/1.0/clip.mp4: `curl -T clip.mp4` asks so where its URL ends in a slash."""
    return PurePosixPath(header(headers, PATH_HEADER) or "").name


def _allow(where: str, record: Mapping[str, Any], *names: str) -> None:
    if unknown := set(record) - set(names):
        raise bad(where, f"has unknown fields {sorted(map(str, unknown))}; allowed: {', '.join(names)}")
