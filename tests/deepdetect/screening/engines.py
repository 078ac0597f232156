"""Engines whose workers die of a certain file, as they would of a bug in a codec."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

from deepdetect.screening import judge
from deepdetect.screening.engines import LocalEngine, RayEngine, _Judge
from deepdetect.screening.places import Entry

FATAL = "fatal"  # in the name of the file that kills


def arm() -> None:
    """From now on this process dies of the file."""
    judged = judge._judged

    def fatal(entry: Entry, *rest):
        if FATAL in entry.path:
            os.kill(os.getpid(), signal.SIGKILL)
        return judged(entry, *rest)

    judge._judged = fatal


class FatalLocalEngine(LocalEngine):
    @staticmethod
    def _new(n_workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"), initializer=arm)


class FatalRayEngine(RayEngine):
    class Actor(_Judge):
        def __init__(self, work) -> None:
            super().__init__(work)
            arm()

    actor_class = Actor
