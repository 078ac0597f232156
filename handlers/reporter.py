"""After the answers: metrics of each batch, and the lines of its requests in the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from handlers.exchange import Batch, Exchange
from handlers.metrics import Metrics
from handlers.request import Outcome, Request
from handlers.request_log import log_exchange
from model_defs.inference.engine import Engine

logger = logging.getLogger(__name__)

# A batch is reported this long after it was answered, together with those that came meanwhile: written at once, the
# lines would keep its callers waiting, for the worker's output wakes the frontend that has the answers to pass on.
DELAY_S = 0.05


class Reporter:
    """What one worker reports of its batches and of itself.

    Args:
        engine: whose name and version stand in every report, and whose cache is asked for its state.
        metrics: where figures go.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._waiting: SimpleQueue[Batch] = SimpleQueue()

    def start(self) -> None:
        """Sets out every counter, and from now on reports batches soon after they are handed in, and the worker."""
        self._metrics.announce()
        self._metrics.start_beating(self._state)
        threading.Thread(target=self._run, name="reports", daemon=True).start()

    def report(
        self, context: Any, requests: Sequence[Request], outcomes: Sequence[Sequence[Outcome]], duration_s: float
    ) -> None:
        """Takes one batch, whose statuses are set on `context`, to be reported; a fault in this costs no answer."""
        try:
            exchanges = [
                Exchange.of(context, index, request, answers)
                for index, (request, answers) in enumerate(zip(requests, outcomes, strict=True))
                if not request.probe
            ]
            self._waiting.put(Batch(exchanges, duration_s, time.time() - duration_s))
        except Exception:
            logger.exception("a batch of %d requests could not be reported", len(requests))

    def flush(self) -> None:
        """Reports every batch that waits for it; what cannot be reported is said in the log."""
        batches: list[Batch] = []
        try:
            while True:
                batches.append(self._waiting.get_nowait())
        except Empty:
            pass
        try:
            for batch in batches:
                for exchange in batch.exchanges:
                    log_exchange(exchange, self._engine.name, self._engine.version, batch.duration_s)
            self._metrics.record(batches)
        except Exception:
            logger.exception("%d batches could not be reported", len(batches))

    def _state(self) -> tuple[Mapping[str, Any], int]:
        return {} if self._engine.cache is None else self._engine.cache.stats(), self._engine.n_stuck

    def _run(self) -> None:
        while True:
            self._waiting.put(self._waiting.get())  # sleeps until there is one
            time.sleep(DELAY_S)
            self.flush()
