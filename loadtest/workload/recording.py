"""What the callers write down while they run: a file a process, put together afterwards.

A line is one JSON object: `start` (a caller came), `sample` (a request is over), `unsent` (it was due, and never sent)
or `process` (how busy this process was, in the end). Times are those of time.time(), so files of several machines go
together as far as their clocks do.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtest.measure.results import Sample

SUFFIX = ".jsonl"


class Recorder:
    """Writes the file of one process into a directory.

    The times that it is told are those of `now`.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}{SUFFIX}").open(
            "w", encoding="utf-8"
        )
        self._started_s = (time.process_time(), time.perf_counter())

    def start(self, time_s: float) -> None:
        self._write("start", time_s)

    def sample(self, sample: Sample) -> None:
        self._write("sample", asdict(sample))

    def unsent(self, time_s: float) -> None:
        self._write("unsent", time_s)

    def close(self) -> None:
        cpu_s, elapsed_s = time.process_time() - self._started_s[0], time.perf_counter() - self._started_s[1]
        self._write("process", {"busy": cpu_s / elapsed_s if elapsed_s else 0.0})
        self._file.close()

    def _write(self, kind: str, value: Any) -> None:
        self._file.write(json.dumps({kind: value}) + "\n")


_OFFSET_S = time.time() - time.perf_counter()


def now() -> float:
    """As time.time() was when this module was loaded, and since then without its jumps."""
    return time.perf_counter() + _OFFSET_S


@dataclass
class Recorded:
    """What the processes of one run wrote.

    Attributes:
        starts_s: when each caller came.
        unsent_s: when requests that were never sent were due.
        busy: share of a core that each process took.
    """

    samples: list[Sample] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)
    unsent_s: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def due_between(self, start_s: float, end_s: float) -> tuple[list[Sample], int]:
        """Of an open loop: the requests meant to be sent in this time, timed from its start, and how many were due."""
        chosen = [_from(sample, start_s) for sample in self.samples if start_s <= sample.scheduled_s < end_s]
        n_unsent = sum(start_s <= time_s < end_s for time_s in self.unsent_s)
        return sorted(chosen, key=lambda sample: sample.scheduled_s), len(chosen) + n_unsent

    def answered_between(self, start_s: float, end_s: float) -> list[Sample]:
        """Of a closed loop: the requests that ended in this time, timed from its start.

        What was in flight at its start makes up for what is at its end, so they are the work of that time.
        """
        chosen = [_from(sample, start_s) for sample in self.samples if start_s <= sample.done_s < end_s]
        return sorted(chosen, key=lambda sample: sample.scheduled_s)


def read_recorded(directory: Path) -> Recorded:
    """Puts together what all processes wrote.

    Raises:
        ValueError: a line is not what `Recorder` writes, as of a process that was killed.
    """
    recorded = Recorded()
    for kind, value in _lines(directory):
        if kind == "sample":
            recorded.samples.append(Sample(**value))
        elif kind == "process":
            recorded.busy.append(value["busy"])
        else:
            {"start": recorded.starts_s, "unsent": recorded.unsent_s}[kind].append(value)
    return recorded


def _lines(directory: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        for line in path.read_text(encoding="utf-8").splitlines():
            (entry,) = json.loads(line).items()
            yield entry


def _from(sample: Sample, start_s: float) -> Sample:
    times = {name: getattr(sample, name) - start_s for name in ("scheduled_s", "sent_s", "done_s")}
    return replace(sample, **times)
