"""What has been judged so far: one Parquet file a shard, below `parts/`, each whole from the moment it is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileType

from deepdetect.screening.judge import SCHEMA
from deepdetect.screening.places import Entry, Place
from deepdetect.screening.shards import Shard

PARTS = "parts"
_Key = tuple[str, str]  # path and etag


def publish(place: Place, shard: Shard, table: pa.Table) -> None:
    """Writes the rows of a shard under its name, whole or not at all; raises OSError."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    (place / PARTS / f"{shard.id}.parquet").publish(sink.getvalue().to_pybytes())


def read_rows(place: Place, model_digest: str, options: str) -> pa.Table:
    """The rows of one model under one set of options, of each file the row of its last attempt."""
    tables = [_of(_read(part), model_digest, options) for part in _parts(place)]
    rows = pa.concat_tables([SCHEMA.empty_table(), *tables])
    order = rows.sort_by([("attempt", "ascending")])
    last = {(path, etag): index for index, (path, etag) in enumerate(_keys(order))}
    return order.take(pa.array(sorted(last.values()), pa.int64())).sort_by([("path", "ascending")])


def missing(entries: Sequence[Entry], rows: pa.Table, *, retry_errors: bool = False) -> list[Entry]:
    """The anti-join of what is listed and what has a row; with `retry_errors`, a row with an error code is none."""
    refused = rows["error_code"].is_valid().to_pylist()
    done = {key for key, is_error in zip(_keys(rows), refused, strict=True) if not (retry_errors and is_error)}
    return [entry for entry in entries if (printable_path(entry), entry.etag) not in done]


def listed_rows(entries: Iterable[Entry], rows: pa.Table) -> list[dict[str, Any]]:
    """The rows of these files, in their order; a file without a row is left out."""
    by_key: Mapping[_Key, int] = {key: index for index, key in enumerate(_keys(rows))}
    wanted = [(printable_path(entry), entry.etag) for entry in entries]
    places = pa.array([by_key[key] for key in wanted if key in by_key], pa.int64())
    found: list[dict[str, Any]] = rows.take(places).to_pylist()
    return found


def printable_path(entry: Entry) -> str:
    """A path as Parquet, whose text is UTF-8, can hold it: other bytes are written as `\\xe9`."""
    return entry.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _parts(place: Place) -> list[Place]:
    folder = place / PARTS
    if not folder.exists():
        return []
    infos = folder.filesystem.get_file_info(FileSelector(folder.path))
    names = sorted(info.base_name for info in infos if info.type == FileType.File)
    return [folder / name for name in names if name.endswith(".parquet") and not name.startswith(".")]


def _read(part: Place) -> pa.Table:
    return pq.read_table(pa.BufferReader(part.read()), schema=SCHEMA)


def _of(table: pa.Table, model_digest: str, options: str) -> pa.Table:
    same = [
        digest == model_digest and text == options
        for digest, text in zip(table["model_digest"].to_pylist(), table["options"].to_pylist(), strict=True)
    ]
    return table.filter(pa.array(same, pa.bool_()))


def _keys(rows: pa.Table) -> list[_Key]:
    return list(zip(rows["path"].to_pylist(), rows["etag"].to_pylist(), strict=True))
