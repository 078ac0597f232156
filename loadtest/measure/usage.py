"""What a server's processes use while it is under load."""

from __future__ import annotations

import threading
import time

import numpy as np
import psutil

from loadtest.measure.process_tree import ProcessTree
from loadtest.measure.results import Usage

EVERY_S = 0.25


class Watch:
    """Reads the processor time and memory of a process and all below it, until it is left."""

    def __init__(self, pid: int, every_s: float = EVERY_S) -> None:
        self.tree = ProcessTree(pid)
        self.every_s = every_s
        self._moments: list[Usage] = []  # on the clock of time.time()

    def __enter__(self) -> Watch:
        self._is_over = threading.Event()
        self._read()
        self._reader = threading.Thread(target=self._run, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_) -> None:
        self._is_over.set()
        self._reader.join()
        self._read()

    def between(self, start_s: float, end_s: float) -> tuple[Usage, ...]:
        """What was read between two moments of time.time(), from the first on; at both ends as the line between two
        readings has it.
        """
        moments = list(self._moments)
        times_s = [moment.at_s for moment in moments]
        cpu_s = [moment.cpu_s for moment in moments]
        start_cpu_s, end_cpu_s = np.interp([start_s, end_s], times_s, cpu_s)
        inside = [moment for moment in moments if start_s < moment.at_s < end_s] or moments[-1:]
        shown = [Usage(m.at_s - start_s, m.cpu_s - start_cpu_s, m.rss_bytes) for m in inside if m.at_s < end_s]
        first = Usage(0.0, 0.0, inside[0].rss_bytes)
        last = Usage(end_s - start_s, float(end_cpu_s - start_cpu_s), inside[-1].rss_bytes)
        return (first, *shown, last)

    def _run(self) -> None:
        while not self._is_over.wait(self.every_s):
            self._read()

    def _read(self) -> None:
        try:
            self._moments.append(Usage(time.time(), self.tree.cpu_s(), self.tree.rss_bytes()))
        except psutil.NoSuchProcess:  # the server has ended; what it used is known
            return
