"""The bytes of one file on their way into libav, which is given no other way to read anything."""

from __future__ import annotations

import ctypes
import io
import os
from pathlib import Path
from typing import Any, NoReturn

import av.buffer

from model_defs.decoding.budget import DecodeBudget
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits

# libav's own ceiling on one allocation, which PyAV does not expose: without it a header of a few bytes has gigabytes
# set aside (a wav tag that claims its length, an mp4 fragment of 80 million samples).
_set_max_block = ctypes.CDLL(av.buffer.__file__).av_max_alloc
_set_max_block.argtypes, _set_max_block.restype = (ctypes.c_size_t,), None


class Reader:
    """A file object for PyAV that counts what headers take, and looks at the clock: libav asks nobody meanwhile."""

    def __init__(self, source: bytes | Path, limits: Limits, budget: DecodeBudget) -> None:
        self.source = source
        self.n_bytes = source.stat().st_size if isinstance(source, Path) else len(source)
        self._file = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
        self._limits = limits
        self._budget = budget
        self._n_header_bytes: int | None = None
        _set_max_block(limits.max_block_bytes)

    def begin_headers(self) -> None:
        """Back to the start; from here on what is read is headers."""
        self._file.seek(0)
        self._n_header_bytes = 0

    def end_headers(self) -> None:
        """What is read from here on is the file's content."""
        self._n_header_bytes = None

    def head(self, n_bytes: int) -> bytes:
        """The first bytes."""
        self._file.seek(0)
        return self._file.read(n_bytes)

    def read(self, n_bytes: int) -> bytes:
        """Called by libav.

        Raises:
            DetectionError: `decode_timeout`, or `too_large` for headers without end. PyAV carries it through libav.
        """
        self._budget.check()
        data = self._file.read(n_bytes)
        if self._n_header_bytes is not None:
            self._n_header_bytes += len(data)
            if self._n_header_bytes > self._limits.max_header_bytes:
                raise DetectionError(
                    ErrorCode.TOO_LARGE,
                    f"more than {self._limits.max_header_bytes} bytes of headers come before the content of the file, "
                    "the limit (max_header_bytes)",
                )
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def refuse_reference(url: str, flags: int, options: dict[str, Any]) -> NoReturn:
    """What libav calls to open anything else: another file, an address.

    Raises:
        DetectionError: `undecodable_media`.
    """
    raise DetectionError(ErrorCode.UNDECODABLE_MEDIA, "the file refers to other files, which are not read")
