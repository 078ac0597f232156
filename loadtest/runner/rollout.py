"""Another version takes the place of the first while a server is under load, and leaves again afterwards."""

from __future__ import annotations

import threading
import time

from client.errors import ClientError
from client.management import Management
from loadtest.workload.scenario import Scenario

VERSION = "2.0"
BEFORE = 0.25  # share of the run that the first version has for itself
PHASES = ("before", "during", "after")


class Rollout:
    """Registers `<model>-2.0.mar` a while after it is entered, and makes it the default.

    Attributes:
        problems: what went wrong, one sentence each.
    """

    def __init__(self, management: Management, scenario: Scenario, start_s: float) -> None:
        self.management = management
        (self.model,) = scenario.models
        self.delay_s = start_s + scenario.warm_up_s + BEFORE * scenario.duration_s
        self.problems: list[str] = []
        self._changes_s: list[float] = []  # on the clock of time.time()

    def __enter__(self) -> Rollout:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._is_over.set()
        self._thread.join()
        if len(self._changes_s) < len(PHASES) - 1:
            self.problems.append(f"{self.model} {VERSION} was not the default before the run was over")
        self._leave()

    def phase(self, time_s: float) -> str:
        """Which part of the run a moment of time.time() belongs to."""
        return PHASES[sum(time_s >= change_s for change_s in self._changes_s)]

    def _run(self) -> None:
        if self._is_over.wait(self.delay_s):
            return
        try:
            self.first = self.management.default(self.model).version
            self._changes_s.append(time.time())
            self.management.register(f"{self.model}-{VERSION}.mar")
            self.management.set_default(self.model, VERSION)
            self._changes_s.append(time.time())
        except ClientError as error:
            self.problems.append(f"{self.model} {VERSION} could not be rolled out: {error}")

    def _leave(self) -> None:
        """The server as it was, for the next run."""
        if self.management.find(self.model, VERSION) is None:
            return
        self.management.set_default(self.model, self.first)
        self.management.unregister(self.model, VERSION)
