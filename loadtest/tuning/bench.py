"""Measures settings on one running server: models come and go by its management API, the server stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loadtest.measure.archive_copies import copy_archive
from loadtest.measure.results import Run
from loadtest.runner.load_loops import MAX_IN_FLIGHT, Load
from loadtest.tuning.pareto import Point
from loadtest.tuning.record import Record
from loadtest.tuning.search import Rung
from loadtest.tuning.space import Setting
from operations.server import TorchServe

OPEN_SHARE = 0.6  # of the incumbent's throughput, at which everybody's latency is measured
FIRST_GUESS = 8  # requests to learn from how fast the incumbent is
LEAST_ARRIVALS = 8
N_WARM_UP = 3


class TuneError(RuntimeError):
    """A setting could not be measured; the message says which and why."""


@dataclass
class Bench:
    """The server, and what is sent to it.

    Attributes:
        store: its model store; copies of the archive are written there.
        source: the archive to tune; it is named like its model.
        batch: requests of a full load come in multiples of it, so that the last batches are full as well.
        record: what was measured before is not measured again.
        budget_s: for all rungs together, from the first measurement on.
        tell: what is being done, and how many seconds of measuring are done; called on the way.
    """

    server: TorchServe
    store: Path
    source: Path
    clip: bytes
    batch: int
    record: Record
    budget_s: float = 600.0
    tell: Callable[[str, float], None] = lambda text, seconds: None
    runs: list[Run] = field(default_factory=list)
    n_left_out: int = 0  # measurements for which there was no time
    _started_s: float | None = None
    _incumbent_hz: float = 0.0  # of the very first point; the size and the rate of every load follow it

    def measure(self, settings: Sequence[Setting], number: int, rung: Rung) -> dict[Setting, list[Point]]:
        """All settings in turns, the incumbent first; what the record has is taken from there.

        Raises:
            TuneError: a model does not start, or a request was not judged.
        """
        self._started_s = self._started_s or time.monotonic()
        rounds = range(rung.rounds)
        missing = [s for s in settings if any(self.record.get(s, number, each) is None for each in rounds)]
        self.tell("", 2 * rung.duration_s * rung.rounds * (len(settings) - len(missing)))
        with ExitStack() as served:
            together = len(missing) if rung.rounds > 1 else 0
            models = {setting: served.enter_context(self._served(setting)) for setting in missing[:together]}
            for each in rounds:
                for place, setting in enumerate(settings):
                    if setting not in missing:
                        known = self.record.get(setting, number, each)
                        self._incumbent_hz = self._incumbent_hz or (known.throughput_hz if known else 0.0)
                        continue
                    is_needed = place == 0 or (rung.rounds > 1 and each == 0)
                    if not is_needed and time.monotonic() - self._started_s > rung.until * self.budget_s:
                        self.n_left_out += 1
                        self.tell("", 2 * rung.duration_s)
                        continue
                    with ExitStack() as alone:
                        model = models.get(setting) or alone.enter_context(self._served(setting))
                        point = self._point(setting, model, rung.duration_s, f"{number + 1}.{each + 1}", seed=each)
                    self.record.add(setting, number, each, point)
        found = {s: [self.record.get(s, number, each) for each in rounds] for s in settings}
        kept = {setting: [point for point in points if point] for setting, points in found.items()}
        return {setting: points for setting, points in kept.items() if points}

    def _point(self, setting: Setting, model: str, duration_s: float, place: str, seed: int) -> Point:
        load = Load(self.server, model, self.clip, "tune", asdict(setting))
        self.tell(f"{setting}", 0.0)
        _checked(load.closed("warm-up", n_requests=N_WARM_UP * setting.workers, n_callers=setting.workers))
        expected_hz = self._incumbent_hz
        if not expected_hz:
            expected_hz = _checked(load.closed("first", n_requests=FIRST_GUESS, n_callers=4)).throughput_hz
        n_batches = max(1, round(expected_hz * duration_s / self.batch))
        n_requests = n_batches * self.batch
        full = _checked(
            load.closed(f"{place} full {setting}", n_requests=n_requests, n_callers=min(n_requests, MAX_IN_FLIGHT))
        )
        self.tell(f"{setting}", duration_s)
        self._incumbent_hz = self._incumbent_hz or full.throughput_hz
        rate_hz = OPEN_SHARE * self._incumbent_hz
        n_requests = max(LEAST_ARRIVALS, round(rate_hz * duration_s))
        opened = _checked(load.opened(f"{place} open {setting}", n_requests=n_requests, rate_hz=rate_hz, seed=seed))
        self.tell(f"{setting}", duration_s)
        self.runs += [full, opened]
        return Point(full.throughput_hz, 1e3 * opened.percentile_s(95), full.cpu_ms)

    @contextmanager
    def _served(self, setting: Setting):
        """Registers a model of this setting; threads are the archive's, everything else the management API's."""
        handler = {"decode_threads": setting.decode_threads}
        name = f"{self.source.stem}_{setting.slug}"
        archive = self.store / f"{name}.mar"
        copy_archive(self.source, archive, {"handler": handler})
        management = self.server.management_api
        management.register(archive.name, batch_size=setting.batch_size, max_batch_delay_ms=setting.delay_ms)
        try:
            version = management.default(name).version
            if setting.workers > 1:
                management.scale(name, version, setting.workers)
            yield name
        finally:
            if self.server.process:
                management.unregister(name, version)
            archive.unlink()


def _checked(run: Run) -> Run:
    if run.problems:
        raise TuneError(f"{run.label}: {'; '.join(run.problems)}")
    return run
