"""Folders, globs, lists and object stores, all through pyarrow's file systems."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from deepdetect.screening.errors import ScreeningError

_SCHEMES = {"gs": "gcs", "az": "abfs"}  # as people write them, and as pyarrow does
_URL = re.compile(r"^([a-z][a-z0-9+.-]*)://")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, order=True)
class Entry:
    """One file to be judged.

    Attributes:
        path: as `open_place` takes it: a local path, or a URL.
        etag: changes when the file does: a digest of its size and time of change.
        n_bytes: its size.
    """

    path: str
    etag: str
    n_bytes: int


@dataclass(frozen=True)
class Place:
    """A file or folder on one of pyarrow's file systems.

    Attributes:
        filesystem: where it lies.
        path: its path there.
        prefix: `scheme://`, or nothing for local files.
    """

    filesystem: FileSystem
    path: str
    prefix: str = ""

    @property
    def is_local(self) -> bool:
        """Whether the operating system can open it by its path."""
        return isinstance(self.filesystem, LocalFileSystem)

    def __truediv__(self, name: str) -> Place:
        return Place(self.filesystem, f"{self.path.rstrip('/')}/{name}", self.prefix)

    def __str__(self) -> str:
        return self.prefix + self.path

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return self.filesystem.get_file_info(self.path).type != FileType.NotFound

    def read(self) -> bytes:
        """The whole file; raises OSError."""
        with self.filesystem.open_input_stream(self.path) as file:
            return bytes(file.read())

    def publish(self, content: bytes) -> None:
        """Put a file there whole or not at all; raises OSError.

        A local file is renamed to its name once written; an object store shows an object when its upload is complete.
        """
        parent = self.path.rpartition("/")[0]
        if not self.is_local:
            self.filesystem.create_dir(parent, recursive=True)
            with self.filesystem.open_output_stream(self.path) as file:
                file.write(content)
            return
        Path(parent).mkdir(parents=True, exist_ok=True)
        partial = Path(parent) / f".{Path(self.path).name}.{hashlib.sha256(content).hexdigest()[:8]}.partial"
        partial.write_bytes(content)
        partial.replace(self.path)


def open_place(text: str) -> Place:
    """The place that a path or URL names (file, s3, gs or gcs, az or abfs).

    Raises:
        ScreeningError: the URL is of another kind, or lacks what its store needs.
    """
    match = _URL.match(text)
    if match is None:
        return Place(LocalFileSystem(), str(Path(text).absolute()))
    scheme = match[1]
    if "?" in text or "@" in text:
        # They would stand in every row.
        raise ScreeningError(
            f"{scheme}:// URLs name a folder alone; keys and endpoints belong in the environment, "
            "such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL"
        )
    try:
        filesystem, path = FileSystem.from_uri(_SCHEMES.get(scheme, scheme) + text[len(scheme) :])
    except (ArrowException, ValueError, OSError) as error:
        raise ScreeningError(f"{text}: {error}; allowed: a path, s3://, gs:// or az://") from error
    prefix = "" if isinstance(filesystem, LocalFileSystem) else f"{scheme}://"
    return Place(filesystem, path, prefix)


def list_entries(sources: Iterable[str]) -> list[Entry]:
    """Every file that the sources name, each once, sorted by path.

    Args:
        sources: files, folders (with all below them), globs (`**` included), URLs of those, and `@FILE`: a list of
            sources, one a line.

    Raises:
        ScreeningError: a source names nothing that is there.
    """
    found: dict[str, Entry] = {}
    for source in sources:
        entries = list(_listed(source))
        if not entries:
            raise ScreeningError(f"{source}: no file is there; allowed: a file, folder, glob, URL or @LIST")
        found |= {entry.path: entry for entry in entries}
    return sorted(found.values())


def _listed(source: str) -> Iterator[Entry]:
    if source.startswith("@"):
        try:
            lines = Path(source[1:]).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError as error:
            raise ScreeningError(f"{source}: the list cannot be read: {error.strerror}") from error
        for line in filter(None, map(str.strip, lines)):
            yield from _listed(line)
        return
    if not _URL.match(source):
        yield from _local(source)
        return
    if _WILD.search(source):
        yield from _matching_url(source)
        return
    place = open_place(source)
    info = place.filesystem.get_file_info(place.path)
    if info.type == FileType.File:
        yield _entry(place.prefix + info.path, info.size, info.mtime_ns)
    elif info.type == FileType.Directory:
        yield from _below(place)


def _local(source: str) -> Iterator[Entry]:
    """By the operating system's own calls, for pyarrow refuses names that are not UTF-8."""
    matches = [source] if Path(source).exists() else glob.glob(source, recursive=True)
    for match in matches:
        if Path(match).is_dir():
            paths = [Path(folder, name) for folder, _, names in os.walk(match) for name in names]
        else:
            paths = [Path(match)]
        for path in paths:
            if path.is_file() and not path.name.startswith("."):
                status = path.stat()
                yield _entry(str(path.absolute()), status.st_size, status.st_mtime_ns)


def _below(place: Place) -> Iterator[Entry]:
    for info in place.filesystem.get_file_info(FileSelector(place.path, recursive=True)):
        if info.type == FileType.File and not info.base_name.startswith("."):
            yield _entry(place.prefix + info.path, info.size, info.mtime_ns)


def _matching_url(source: str) -> Iterator[Entry]:
    folder = _WILD.split(source, maxsplit=1)[0].rpartition("/")[0]
    pattern = re.compile(_translate(source))
    yield from (entry for entry in _below(open_place(folder)) if pattern.fullmatch(entry.path))


def _translate(source: str) -> str:
    """A glob as a regular expression: `**` crosses folders, `*` and `?` do not."""
    parts = re.split(r"(\*\*/?|\*|\?)", source)
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(wild.get(part, re.escape(part)) for part in parts)


def _entry(path: str, n_bytes: int, changed_ns: int) -> Entry:
    return Entry(path, hashlib.sha256(f"{n_bytes}:{changed_ns}".encode()).hexdigest()[:16], n_bytes)
