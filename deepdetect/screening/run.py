"""A screening from the list of files to the last row, whatever is killed on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepdetect.screening import parts
from deepdetect.screening.engines import Engine
from deepdetect.screening.judge import as_table, crashed_row
from deepdetect.screening.places import Entry, Place
from deepdetect.screening.shards import Shard, make_shards

PORTIONS = (20, 1)  # files; a shard that killed its worker is judged again in such portions, alone


@dataclass(frozen=True)
class Outcome:
    """How a screening ended.

    Attributes:
        rows: of the listed files, in their order.
        missing: the files that have no row.
        n_judged: files judged by this run; the others had been before.
    """

    rows: Sequence[Mapping[str, Any]]
    missing: Sequence[Entry]
    n_judged: int

    @property
    def n_refused(self) -> int:
        """Files whose row holds an error code."""
        return sum(row["error_code"] is not None for row in self.rows)


@dataclass(frozen=True)
class Plan:
    """What is to be judged, by which model and under which options.

    Attributes:
        listed: every file that the sources name.
        waiting: those of them without a row yet.
        shards: of the waiting ones.
        options_text: as rows name the options.
        model_digest: of the models.
        attempt: how often the most tried of the listed files will have been tried, this time included.
    """

    listed: Sequence[Entry]
    waiting: Sequence[Entry]
    shards: list[Shard]
    options_text: str
    model_digest: str
    attempt: int = 1


def make_plan(
    place: Place,
    listed: Sequence[Entry],
    options: Mapping[str, Any],
    options_text: str,
    model_digest: str,
    files_a_shard: int,
    *,
    retry_errors: bool = False,
) -> Plan:
    """Shards of those files that no earlier run has judged with this model and these options."""
    rows = parts.read_rows(place, model_digest, options_text)
    waiting = parts.missing(listed, rows, retry_errors=retry_errors)
    shards = make_shards(waiting, options, model_digest, files_a_shard)
    attempt = 1 + max(rows["attempt"].to_pylist(), default=0)
    return Plan(listed, waiting, shards, options_text, model_digest, attempt)


def screen(plan: Plan, place: Place, engine: Engine, on_files: Callable[[int], object]) -> Outcome:
    """Judges the shards of a plan; what the outcome says comes from the rows that are there at the end.

    Args:
        on_files: is told how many more files are done.

    Raises:
        OSError: rows cannot be written or read.
    """
    for shard, published in engine.run(plan.shards):
        if not published:
            _isolate(shard, place, engine)
        on_files(len(shard.entries))
    rows = parts.read_rows(place, plan.model_digest, plan.options_text)
    return Outcome(parts.listed_rows(plan.listed, rows), parts.missing(plan.listed, rows), len(plan.waiting))


def _isolate(shard: Shard, place: Place, engine: Engine) -> None:
    """Judges a shard whose worker died in ever smaller portions, until the file it died of stands alone."""
    rows = [row for portion in _portions(shard, PORTIONS[0]) for row in _rows_of(portion, engine, PORTIONS[1:])]
    engine.end_isolation()
    parts.publish(place, shard, as_table(shard, rows, engine.work.run_id, engine.work.attempt))


def _rows_of(portion: Shard, engine: Engine, smaller: Sequence[int]) -> list[dict[str, Any]]:
    table = engine.alone(portion)
    if table is not None:
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows
    if not smaller:
        return [crashed_row(entry) for entry in portion.entries]
    return [row for part in _portions(portion, smaller[0]) for row in _rows_of(part, engine, smaller[1:])]


def _portions(shard: Shard, n_files: int) -> list[Shard]:
    return make_shards(shard.entries, shard.options, shard.model_digest, n_files)
