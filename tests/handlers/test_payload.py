"""Compressed bodies: what is unpacked, what is refused, and that a bomb stays small."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from handlers.payload import inflate, looks_like_base64
from model_defs.errors import DetectionError, ErrorCode

CONTENT = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (CONTENT, None),
        (CONTENT, "identity"),
        (gzip.compress(CONTENT), "gzip"),
        (gzip.compress(CONTENT), "X-GZIP"),
        (gzip.compress(CONTENT), None),
        (zlib.compress(CONTENT), "deflate"),
        (gzip.compress(CONTENT[:99]) + gzip.compress(CONTENT[99:]) + bytes(512), "gzip"),
    ],
)
def test_what_was_packed_comes_out(body, encoding):
    assert inflate(body, encoding, len(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (CONTENT, "br", ErrorCode.BAD_REQUEST),
        (CONTENT, "gzip", ErrorCode.BAD_REQUEST),
        (gzip.compress(CONTENT)[:-1], "gzip", ErrorCode.BAD_REQUEST),
        (gzip.compress(CONTENT)[:-1], None, ErrorCode.BAD_REQUEST),
        (gzip.compress(CONTENT) + b"rest", "gzip", ErrorCode.BAD_REQUEST),
        (gzip.compress(CONTENT + b"1"), "gzip", ErrorCode.TOO_LARGE),
        (gzip.compress(CONTENT) + gzip.compress(b"1"), "gzip", ErrorCode.TOO_LARGE),
    ],
)
def test_what_cannot_be_unpacked_is_refused(body, encoding, code):
    with pytest.raises(DetectionError) as refusal:
        inflate(body, encoding, len(CONTENT))
    assert refusal.value.code is code


def test_a_bomb_takes_no_more_memory_than_is_allowed():
    bomb = gzip.compress(bytes(256 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(DetectionError):
            inflate(bomb, "gzip", 2**20)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_media_is_not_taken_for_base64():
    assert looks_like_base64(b"AAAA" * 100)
    assert looks_like_base64(b"A" * 64 + b"==")
    assert not looks_like_base64(b"\x00\x00\x00 ftypisom" + b"A" * 300)
    assert not looks_like_base64(b"RIFF" + b"A" * 3)
