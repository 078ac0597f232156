"""Takes an upload off the wire and onto the disk, no byte more than is allowed."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from console.clip import Clip
from console.sessions import Session

MAX_NAME_LENGTH = 200
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069/\\]")  # control and direction characters, separators


class UploadError(Exception):
    """The upload was refused; `code` and `status` are for the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def clean_name(name: str) -> str:
    """A file name that may be shown: no path, no control characters, not too long, its ending kept."""
    plain = _UNSAFE.sub("_", re.split(r"[/\\]", name)[-1]).strip() or "unnamed"
    if len(plain) <= MAX_NAME_LENGTH:
        return plain
    suffix = Path(plain).suffix[:16]
    return plain[: MAX_NAME_LENGTH - len(suffix)] + suffix


def declared_length(content_length: str | None, max_bytes: int) -> int:
    """The length that the request declares.

    Raises:
        UploadError: it declares none, nothing, or more than is allowed.
    """
    if content_length is None or not content_length.isdecimal():
        raise UploadError(411, "length_required", "the upload does not say how long it is")
    n_bytes = int(content_length)
    if n_bytes == 0:
        raise UploadError(400, "empty_body", "the file is empty")
    if n_bytes > max_bytes:
        raise UploadError(413, "too_large", f"the file has {n_bytes} bytes; up to {max_bytes} are allowed")
    return n_bytes


async def receive(session: Session, name: str, n_bytes: int, stream: AsyncIterator[bytes]) -> Clip:
    """Writes the stream into the session's directory.

    Raises:
        UploadError: it is longer or shorter than declared.
    """
    clip_id = secrets.token_hex(8)
    shown = clean_name(name)
    # With --keep the files are for a person to find again; the suffix is all of the name that reaches the disk.
    path = session.directory / f"{clip_id}{Path(shown).suffix.lower() if shown.isascii() else ''}"
    received = 0
    try:
        with path.open("xb") as file:
            async for chunk in stream:
                received += len(chunk)
                if received > n_bytes:
                    raise UploadError(413, "too_large", "the upload is longer than it declared")
                file.write(chunk)
        if received != n_bytes:
            raise UploadError(400, "incomplete", f"{received} of {n_bytes} bytes arrived")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Clip(clip_id, shown, path, n_bytes)
