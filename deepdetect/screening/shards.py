"""Files in portions: the unit that is judged, published and never judged again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepdetect.screening.places import Entry


@dataclass(frozen=True)
class Shard:
    """Some files, judged by one model under one set of options.

    Attributes:
        entries: the files.
        options: of each detection, as `DetectOptions.parse` takes them.
        model_digest: of weights, variants and code; see `judge.model_digest`.
    """

    entries: tuple[Entry, ...]
    options: Mapping[str, Any]
    model_digest: str

    @property
    def id(self) -> str:
        """The name that its rows are published under: of all that the rows depend on."""
        record = [
            [(entry.path, entry.etag, entry.n_bytes) for entry in self.entries],
            dict(self.options),
            self.model_digest,
        ]
        text = json.dumps(record, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def make_shards(
    entries: Sequence[Entry], options: Mapping[str, Any], model_digest: str, files_a_shard: int
) -> list[Shard]:
    """Shards of consecutive files; the same files in the same order make the same shards."""
    starts = range(0, len(entries), files_a_shard)
    return [Shard(tuple(entries[start : start + files_a_shard]), options, model_digest) for start in starts]
