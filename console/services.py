"""The parts of one console that its routes share."""

from __future__ import annotations

from dataclasses import dataclass

from console.detector import Detector
from console.health import Health
from console.prediction_queue import PredictionQueue
from console.sessions import Sessions
from console.settings import ConsoleSettings


@dataclass(frozen=True)
class Services:
    """Made once, by `create_app`."""

    settings: ConsoleSettings
    sessions: Sessions
    detector: Detector
    queue: PredictionQueue
    health: Health

    @classmethod
    def of(cls, settings: ConsoleSettings, detector: Detector | None = None) -> Services:
        """The parts that the settings describe.

        Args:
            detector: None makes one that finds its keys by itself.
        """
        detector = detector or Detector(settings)
        queue = PredictionQueue(detector, settings.n_parallel)
        return cls(settings, Sessions(settings), detector, queue, Health(detector))

    def close(self) -> None:
        """Ends the queue and all sessions."""
        self.queue.close()
        self.sessions.close()
