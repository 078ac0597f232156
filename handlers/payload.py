"""Bytes, text and JSON as callers wrap them; what cannot be unwrapped is refused as `bad_request`."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from model_defs.errors import DetectionError, ErrorCode

MAX_FILES = 8  # in one v1 or v2 request; all of them are judged before a neighbour in the batch is answered
GZIP_MAGIC = b"\x1f\x8b"
# zlib's window bits: 32 takes the header of gzip and that of zlib.
COMPRESSIONS = {"gzip": 32 + zlib.MAX_WBITS, "x-gzip": 32 + zlib.MAX_WBITS, "deflate": 32 + zlib.MAX_WBITS}
DATA_URI = re.compile(r"data:[^,]{0,200}?(;base64)?,", re.IGNORECASE)
BASE64_PREFIX = re.compile(rb"[A-Za-z0-9+/_\-\r\n]{64,}=*")


def bad(where: str, problem: str) -> DetectionError:
    """A `bad_request`, to be raised: where the fault is, and what it is."""
    return DetectionError(ErrorCode.BAD_REQUEST, f"{where} {problem}")


def from_base64(text: Any, where: str = "'data'") -> bytes:
    """The bytes of base64 text: standard or URL-safe, padded or not, wrapped into lines, bare or as a `data:` URI."""
    if text is None:
        raise bad(where, "is missing; it holds the file as base64 text")
    if not isinstance(text, str):
        raise bad(where, f"is not base64 text but {type(text).__name__}")
    if text[:5].lower() == "data:":
        scheme = DATA_URI.match(text)
        if scheme is None or not scheme[1]:
            raise bad(where, "is a data: URI without ';base64,'")
        text = text[scheme.end() :]
    try:
        encoded = text.encode("ascii").translate(None, b"\r\n\t ").rstrip(b"=")
        if b"-" in encoded or b"_" in encoded:
            encoded = encoded.translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise bad(where, "is not base64 text") from None


def looks_like_base64(data: bytes) -> bool:
    """Whether bytes are base64 text and no media file, every one of which has other bytes near its start."""
    return BASE64_PREFIX.fullmatch(data[:256]) is not None


def inflate(data: bytes | bytearray, encoding: str | None, max_bytes: int) -> bytes | bytearray:
    """A body as it was before its `Content-Encoding`; gzip is recognized without that header, too.

    Args:
        encoding: value of the header `Content-Encoding`.
        max_bytes: no more than this is ever unpacked.

    Raises:
        DetectionError: the encoding is not known, the data is damaged, or there is more of it.
    """
    name = (encoding or "").strip().lower()
    if name in ("", "identity"):
        if data[:2] != GZIP_MAGIC:
            return data
        name = "gzip"
    if name not in COMPRESSIONS:
        raise bad("the Content-Encoding", f"is not supported; allowed: identity, {', '.join(COMPRESSIONS)}")
    unpacked, rest = bytearray(), bytes(data)
    try:
        while rest:  # a gzip file may have several members
            unpacker = zlib.decompressobj(COMPRESSIONS[name])
            unpacked += unpacker.decompress(rest, max_bytes + 1 - len(unpacked))
            if len(unpacked) > max_bytes:
                message = f"the {name} body unpacks to more than {max_bytes} bytes"
                raise DetectionError(ErrorCode.TOO_LARGE, message)
            if not unpacker.eof:
                raise bad("the body", f"is not complete {name} data")
            rest = unpacker.unused_data.lstrip(b"\0")  # zeros may follow as padding
    except zlib.error:
        raise bad("the body", f"is not {name} data") from None
    return bytes(unpacked)


def text(value: Any) -> Any:
    """Bytes as text; anything else as it is."""
    return bytes(value).decode(errors="replace") if isinstance(value, (bytes, bytearray)) else value


def loads(payload: Any, where: str) -> Any:
    """JSON of bytes or text; anything else has been decoded already."""
    if not isinstance(payload, (bytes, bytearray, str)):
        return payload
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise bad(where, "is not valid JSON") from None


def as_object(name: str, value: Any) -> Mapping[str, Any]:
    """The value, which is a JSON object or missing; `bad_request` otherwise."""
    if value is not None and not isinstance(value, Mapping):
        raise bad(repr(name), "is not a JSON object")
    return value or {}


def as_list(name: str, value: Any, max_elements: int = MAX_FILES) -> list[Any]:
    """The value, which is a list of at least one element; `bad_request` otherwise."""
    if not isinstance(value, list) or not 1 <= len(value) <= max_elements:
        raise bad(repr(name), f"is not a list with 1 to {max_elements} elements")
    return value
