"""The Open Inference Protocol (KServe's and Triton's v2), as kserve, tritonclient and mlserver send it.

    {"id": "7", "parameters": {options},
     "inputs": [{"name": "data", "shape": [1], "datatype": "BYTES", "data": ["<base64>"]}],
     "outputs": [{"name": "answer"}]}

Each element of a BYTES tensor is a file: as base64 text in the JSON, or as it is behind the JSON (Triton's binary data
extension). A UINT8 tensor is one file, or one a row. Options come as parameters or as tensors that have the name of an
option. As the protocol wants it, unknown fields and parameters are passed over; the answer warns of the latter.

The answer is one BYTES tensor, `answer`, which holds an answer or error of the request contract as JSON text for each
file. Where no file was judged, `error` at the top is a string.

Specification: https://github.com/kserve/open-inference-protocol; binary data:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from handlers.payload import MAX_FILES, as_list, as_object, bad, from_base64, looks_like_base64, text
from handlers.request import Request, Response
from model_defs.errors import DetectionError
from model_defs.inference.options import DetectOptions

JSON_LENGTH_HEADER = "Inference-Header-Content-Length"
OUTPUT_NAME = "answer"
OPTION_NAMES = frozenset({option.name for option in fields(DetectOptions)} | {"file_name"})
# What the clients send of their own accord, and what says nothing about the file.
PROTOCOL_PARAMETERS = frozenset(
    {"binary_data", "binary_data_output", "binary_data_size", "content_type", "headers", "options"}
    | {"priority", "sequence_end", "sequence_id", "sequence_start", "timeout"}
)
MAX_TENSORS = 32
SCALARS = {"BOOL": "<?", "INT32": "<i", "INT64": "<q", "FP32": "<f", "FP64": "<d"}

Part = dict[str, Any]  # a file and its options: {"bytes": ..., "options": {...}}


def parse_inputs(
    record: Mapping[str, Any], binary: bytes, options: Mapping[str, Any], is_grpc: bool
) -> tuple[list[Part], set[str]]:
    """The files of a v2 request, each with its options, and the names of the parameters that were passed over.

    Args:
        record: the JSON of the request.
        binary: what follows it in the body.
        options: those that came by headers.
        is_grpc: it came by gRPC.

    Raises:
        DetectionError: the request cannot be read.
    """
    parameters = as_object("parameters", record.get("parameters"))
    shared = {**options, **_options(parameters)}
    ignored = set(parameters)
    files: list[tuple[list[bytes | DetectionError], Mapping[str, Any]]] = []
    position = 0
    for tensor in as_list("inputs", record["inputs"], MAX_TENSORS):
        if not isinstance(tensor, Mapping) or not isinstance(tensor.get("name", ""), str):
            raise bad("'inputs'", "holds something other than tensors with a name")
        own = as_object("inputs.parameters", tensor.get("parameters"))
        ignored |= set(own)
        if "shared_memory_region" in own:
            raise bad("'inputs'", "lie in shared memory, which is not supported: send the bytes")
        raw = None
        if "binary_data_size" in own:
            raw, position = _slice(binary, position, own["binary_data_size"])
        elif is_grpc and not tensor.get("data"):
            raise bad("a tensor", "is empty; TorchServe hands on `contents` alone over gRPC, not raw_input_contents")
        if (name := tensor.get("name")) in OPTION_NAMES:
            shared[name] = _scalar(tensor, raw, is_grpc)
        else:
            files.append((list(_files(tensor, raw)), _options(own)))
    if position != len(binary):
        raise bad("the body", f"has {len(binary)} bytes after its JSON; the inputs' binary_data_size name {position}")
    parts = [{"bytes": data, "options": {**shared, **own}} for contents, own in files for data in contents]
    return as_list("inputs", parts), ignored - OPTION_NAMES - PROTOCOL_PARAMETERS


def wants_binary(record: Mapping[str, Any]) -> bool:
    """Whether the output is to follow the JSON as bytes.

    Raises:
        DetectionError: an output is asked for that there is not.
    """
    wanted = as_object("parameters", record.get("parameters")).get("binary_data_output") is True
    outputs = record.get("outputs") or []
    if not isinstance(outputs, list):
        raise bad("'outputs'", "is not a list")
    for output in outputs:
        if not isinstance(output, Mapping) or output.get("name") != OUTPUT_NAME:
            raise bad("'outputs'", f"names another tensor than the only one that there is, {OUTPUT_NAME!r}")
        wanted = as_object("outputs.parameters", output.get("parameters")).get("binary_data", wanted) is True
    return wanted


def render(
    request: Request, texts: Sequence[str], status: int, error: DetectionError | None, model: str, version: str
) -> Response:
    """The response to a v2 request.

    Args:
        texts: an answer or error of the contract as JSON, for each file.
        error: what all files failed for, or the first of them.
    """
    tensor: dict[str, Any] = {"name": OUTPUT_NAME, "datatype": "BYTES", "shape": [len(texts)]}
    record = {"model_name": model, "model_version": version, "id": request.id, "outputs": [tensor]}
    if error is not None:
        record["error"] = f"{error.code.value}: {error.message}"
    if not request.wants_binary or error is not None:
        # Over gRPC TorchServe puts each element through JSON again, which would quote text once more.
        tensor["data"] = [json.loads(each) for each in texts] if request.is_grpc else list(texts)
        return Response(status, json.dumps(record))
    elements = b"".join(struct.pack("<I", len(each)) + each.encode("ascii") for each in texts)
    tensor["parameters"] = {"binary_data_size": len(elements)}
    head = json.dumps(record).encode("ascii")
    headers = {JSON_LENGTH_HEADER: str(len(head))}
    return Response(status, head + elements, "application/octet-stream", headers)


def _options(parameters: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in parameters.items() if name in OPTION_NAMES}
    return {**as_object("options", parameters.get("options")), **own}


def _slice(binary: bytes, position: int, size: Any) -> tuple[bytes, int]:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary) - position:
        raise bad("'binary_data_size'", f"is not a number of the {len(binary) - position} bytes that are left")
    return binary[position : position + size], position + size


def _files(tensor: Mapping[str, Any], raw: bytes | None) -> Iterator[bytes | DetectionError]:
    """The contents of each file of one tensor; a file that cannot be unwrapped is its error."""
    kind = tensor.get("datatype")
    if kind == "BYTES" and raw is not None:
        elements: Iterator[Any] = _unpack(raw)
    elif kind == "BYTES":
        elements = _flat(tensor.get("data"))
    elif kind == "UINT8":
        yield from _rows(tensor, raw)
        return
    else:
        raise bad("'inputs'", "must hold tensors of datatype BYTES, each element a file, or UINT8")
    for element in elements:
        try:
            data = element if isinstance(element, bytes) else from_base64(element, "'inputs.data'")
            # mlserver's base64 codec within binary data or gRPC, whose elements need no base64.
            yield from_base64(text(data), "'inputs.data'") if looks_like_base64(data) else data
        except DetectionError as error:
            yield error


def _unpack(raw: bytes) -> Iterator[bytes]:
    """The elements of a BYTES tensor: each has its length before it, in four bytes, little-endian."""
    position = 0
    while position < len(raw):
        if position + 4 > len(raw):
            raise bad("a BYTES tensor", "ends within the length of an element")
        (size,) = struct.unpack_from("<I", raw, position)
        position += 4
        if size > len(raw) - position:
            raise bad("a BYTES tensor", f"names an element of {size} bytes, and has {len(raw) - position} left")
        yield raw[position : position + size]
        position += size


def _flat(data: Any, depth: int = 4) -> Iterator[Any]:
    """The elements of nested lists; a tensor may be sent flat or as its shape says."""
    for element in as_list("inputs.data", data):
        if isinstance(element, list) and depth:
            yield from _flat(element, depth - 1)
        else:
            yield element


def _rows(tensor: Mapping[str, Any], raw: bytes | None) -> Iterator[bytes]:
    """The files of a UINT8 tensor: one, or with two or more dimensions one along the first."""
    if raw is None:
        values: Any = tensor.get("data")
        try:
            rows = values if values and isinstance(values[0], list) else [values]
            raw = b"".join(bytes(row) for row in rows)
        except (TypeError, ValueError, LookupError):
            raise bad("'inputs.data'", "is not a list of numbers from 0 to 255") from None
    shape = tensor.get("shape")
    n_rows = shape[0] if isinstance(shape, list) and len(shape) > 1 else 1
    if not isinstance(n_rows, int) or not 1 <= n_rows <= MAX_FILES or len(raw) % n_rows:
        raise bad("'inputs'", f"of datatype UINT8 must have 1 to {MAX_FILES} rows of equal length")
    row_bytes = math.ceil(len(raw) / n_rows)
    for start in range(0, n_rows * row_bytes, row_bytes or 1):
        yield raw[start : start + row_bytes]
    if not row_bytes:
        yield b""


def _scalar(tensor: Mapping[str, Any], raw: bytes | None, is_grpc: bool) -> Any:
    """The value of an option that came as a tensor of one element."""
    name, kind = tensor["name"], tensor.get("datatype")
    if raw is None:
        values = list(_flat(tensor.get("data")))
    elif kind == "BYTES":
        values = list(_unpack(raw))
    elif isinstance(kind, str) and kind in SCALARS and len(raw) == struct.calcsize(SCALARS[kind]):
        values = list(struct.unpack(SCALARS[kind], raw))
    else:
        raise bad(f"the tensor {name!r}", f"is no single element of BYTES or {', '.join(SCALARS)}")
    if len(values) != 1:
        raise bad(f"the tensor {name!r}", f"has {len(values)} elements; an option has one")
    if is_grpc and kind == "BYTES":  # TorchServe makes base64 of what came as bytes
        return text(from_base64(values[0], repr(name)))
    return text(values[0])
