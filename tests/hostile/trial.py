"""Hostile files through the code that serves, each in a process that may die: what becomes of them.

The child decodes, or judges, one file after another and says which one it has begun, so that a crash is laid to the
file that caused it; the parent then starts another child behind it.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from model_defs.decoding.media import Media
from model_defs.errors import DetectionError
from model_defs.inference.settings import EngineSettings
from model_defs.limits import Limits

PROJECT_DIR = Path(__file__).resolve().parents[2]
READY_S = 120.0  # for loading the models
HANG_S = 60.0  # a file that takes so long beyond its decode budget hangs


@dataclass(frozen=True)
class Trial:
    """What one file came to.

    Attributes:
        index: of the file.
        outcome: `ok`, an error code, `crash: ...`, `hang`, or `fault: ...` for an exception that should not get out.
        spent_s: wall seconds.
        peak_mib: how far the process' peak memory grew with this file, MiB.
    """

    index: int
    outcome: str
    spent_s: float
    peak_mib: float = 0.0

    @property
    def is_fault(self) -> bool:
        return self.outcome.startswith(("crash", "hang", "fault", "internal"))


def try_files(files: Sequence[bytes], depth: str, limits: Limits = Limits()) -> Iterator[Trial]:
    """Tries each file, in order.

    Args:
        depth: `decode` for frames and sound alone, `verdict` for everything up to the answer.
    """
    begin = 0
    while begin < len(files):
        for trial in _in_child(files, begin, depth, limits):
            begin = trial.index + 1
            yield trial


def decode(data: bytes, limits: Limits) -> str:
    """`ok` if anything of the file could be decoded, else the code of the refusal that tells most."""
    codes = []
    try:
        with Media(data, limits) as media:
            for take in (lambda: media.frames(3), lambda: media.audio_segments(16_000, 4.0, 8)):
                try:
                    take()
                    codes.append("ok")
                except DetectionError as refusal:
                    codes.append(refusal.code.value)
    except DetectionError as refusal:
        codes.append(refusal.code.value)
    return min(codes, key=lambda code: (code != "ok", code.startswith("no_")))


def _judge(artifacts: Path, limits: Limits) -> Callable[[bytes], str]:
    from model_defs.inference.engine import Item, load_engine
    from model_defs.inference.options import DetectOptions

    paths = {modality: artifacts / modality for modality in ("video", "audio")}
    engine = load_engine(paths, device="cpu", cache=None, settings=EngineSettings(limits=limits))
    engine.warm_up()

    def judge(data: bytes) -> str:
        answer = engine.detect_batch([Item(data, options=DetectOptions(frames=2))])[0]
        return answer.code.value if isinstance(answer, DetectionError) else "ok"

    return judge


def _in_child(files: Sequence[bytes], begin: int, depth: str, limits: Limits) -> Iterator[Trial]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(files, begin, depth, limits, theirs))
    child.start()
    theirs.close()
    try:
        is_ready = ours.poll(READY_S) and ours.recv() == "ready"
    except EOFError:
        is_ready = False
    if not is_ready:
        raise RuntimeError("the process that tries the files did not start; its error is above")
    current, started_s = begin, time.perf_counter()
    try:
        while current < len(files):
            if not ours.poll(limits.decode_budget_s + HANG_S):
                child.kill()
                yield Trial(current, "hang", time.perf_counter() - started_s)
                return
            try:
                yield ours.recv()
            except EOFError:
                child.join()
                yield Trial(current, f"crash: exit status {child.exitcode}", time.perf_counter() - started_s)
                return
            current, started_s = current + 1, time.perf_counter()
    finally:
        ours.close()
        child.join()


def _run(files: Sequence[bytes], begin: int, depth: str, limits: Limits, pipe: Connection) -> None:
    faulthandler.enable()
    act = _judge(PROJECT_DIR / "build" / "artifacts", limits) if depth == "verdict" else None
    pipe.send("ready")
    for index in range(begin, len(files)):
        before_kib, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        try:
            outcome = act(files[index]) if act else decode(files[index], limits)
        except Exception as error:
            outcome = f"fault: {type(error).__name__}: {error}"
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
        pipe.send(Trial(index, outcome, time.perf_counter() - started_s, grown_mib))
    pipe.close()
    sys.stderr.flush()
