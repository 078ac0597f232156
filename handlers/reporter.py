"""After each batch: its metrics and the lines of its requests in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from handlers.contract import Outcome, Request
from handlers.exchange import Exchange
from handlers.metrics import Metrics
from handlers.request_log import log_exchange
from model_defs.engine import Engine

logger = logging.getLogger(__name__)


class Reporter:
    """What one worker reports of its batches and of itself.

    Args:
        engine: whose name and version stand in every report, and whose cache is asked for its state.
        metrics: where figures go.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    def start(self) -> None:
        """Sets out every counter, and reports the worker's state from now on."""
        self._metrics.announce()
        self._metrics.start_beating(lambda: {} if self._engine.cache is None else self._engine.cache.stats())

    def report(
        self, context: Any, requests: Sequence[Request], outcomes: Sequence[Sequence[Outcome]], duration_s: float
    ) -> None:
        """Reports one batch whose statuses are set on `context`; a fault in this costs no answer."""
        try:
            exchanges = [
                Exchange.of(context, index, request, answers)
                for index, (request, answers) in enumerate(zip(requests, outcomes, strict=True))
            ]
            for exchange in exchanges:
                log_exchange(exchange, self._engine.name, self._engine.version, duration_s)
            self._metrics.record(exchanges, duration_s)
        except Exception:
            logger.exception("a batch of %d requests could not be reported", len(requests))
