"""Callers in threads that send files and write down what became of each; knows the wire alone."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from client.errors import ClientError
from client.inference import HttpClient

PAUSE_AFTER_ERROR_S = 0.1


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        kind: what was sent, such as `good` or `hostile`.
        sent_s, done_s: on the clock of `time.perf_counter`.
        outcome: `judged`, the code of a refusal, `wrong answer`, or the error that the client raised.
        is_answer: whether it is an answer or a refusal in the contract, rather than a failed call.
    """

    kind: str
    sent_s: float
    done_s: float
    outcome: str
    is_answer: bool


@dataclass
class Traffic:
    """Callers that go on until they are stopped.

    Args:
        client: makes the client of one caller.
        draw: the kind and bytes of the next file, called by all callers.
        model: who judges.
        n_callers: how many ask at the same time.
    """

    client: Callable[[], HttpClient]
    draw: Callable[[], tuple[str, bytes]]
    model: str
    n_callers: int
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        self._is_over = threading.Event()
        self._callers = [threading.Thread(target=self._run, daemon=True) for _ in range(self.n_callers)]
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        """Returns when every caller has had its last reply."""
        self._is_over.set()
        for caller in self._callers:
            caller.join()

    def outcomes(self, kind: str | None = None) -> Counter[str]:
        """How often each outcome was seen."""
        return Counter(call.outcome for call in list(self.calls) if kind in (None, call.kind))

    def between(self, start_s: float, end_s: float) -> list[Call]:
        """The calls that were sent in that time."""
        return [call for call in list(self.calls) if start_s <= call.sent_s < end_s]

    def in_flight_at(self, time_s: float) -> list[Call]:
        """The calls that were sent before and answered after a time; complete once the callers have stopped."""
        return [call for call in list(self.calls) if call.sent_s < time_s < call.done_s]

    def _run(self) -> None:
        client = self.client()
        while not self._is_over.is_set():
            kind, data = self.draw()
            sent_s = time.perf_counter()
            try:
                reply = client.predict(self.model, data)
                is_answer, outcome = True, reply.error_code or "judged"
                if outcome == "judged" and reply.body["sha256"] != hashlib.sha256(data).hexdigest():
                    is_answer, outcome = False, "wrong answer"
            except ClientError as error:
                is_answer, outcome = False, short(error)
            self.calls.append(Call(kind, sent_s, time.perf_counter(), outcome, is_answer))
            if not is_answer:
                self._is_over.wait(PAUSE_AFTER_ERROR_S)
        client.close()


def unlike(clip: bytes) -> bytes:
    """The mp4 with a `free` box of random bytes at its end: other content, the same pictures and sound."""
    return clip + (24).to_bytes(4, "big") + b"free" + os.urandom(16)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not pass; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def short(error: ClientError) -> str:
    """What went wrong with a call, in few words."""
    text = str(error)
    for status, meaning in (
        ("about to stop", "503 draining"),
        ("507", "507 worker died"),
        ("500: Worker died", "500 worker died"),
        ("queue of the model is full", "503 queue full"),
        ("refused", "connection refused"),
        ("reset", "connection reset"),
        ("aborted", "connection reset"),
        ("503", "503"),
    ):
        if status in text:
            return meaning
    return f"{type(error).__name__}: {text[:80]}"
