"""One uploaded file of a session, and what is known of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

Record = dict[str, Any]

# What a browser may play from here. Anything else is sent as bytes to be saved, so that no upload becomes a page.
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",  # browsers play QuickTime files under this name
    ".webm": "video/webm",
    ".mkv": "video/webm",
    ".ogv": "video/ogg",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}


DECISIONS = ("", "fake", "real", "unsure")


class State(StrEnum):
    """How far a file is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Clip:
    """One file.

    Attributes:
        clip_id: by which the page names it.
        name: the file's name, as the browser gave it; never part of a path here.
        path: where its bytes lie.
        answer: the server's answer, once there is one.
        error: `{"code", "message"}`, where the file or the call was refused.
        explanation: the answer with `explanation`, once asked for.
        compared: version -> its answer or error on the same file.
        decision: the reviewer's own, of `DECISIONS`.
        revision: grows with every change in the session; the page asks for what is newer.
    """

    clip_id: str
    name: str
    path: Path
    size_bytes: int
    state: State = State.WAITING
    answer: Record | None = None
    error: Record | None = None
    explanation: Record | None = None
    compared: dict[str, Record] = field(default_factory=dict)
    decision: str = ""
    took_s: float | None = None
    received_at_s: float = field(default_factory=time.time)
    revision: int = 0

    @property
    def media_type(self) -> str:
        """As what a browser gets its bytes."""
        return MEDIA_TYPES.get(Path(self.name).suffix.lower(), "application/octet-stream")

    @property
    def p_fake(self) -> float | None:
        """P(fake) of the fused verdict; None where there is none."""
        return self.answer["probabilities"]["fake"] if self.answer else None

    def summary(self) -> Record:
        """What the queue shows of it."""
        answer = self.answer or {}
        return {
            "id": self.clip_id,
            "name": self.name,
            "size_bytes": self.size_bytes,
            "state": self.state.value,
            "p_fake": self.p_fake,
            "threshold": answer.get("threshold"),
            "file_type": answer.get("file_type"),
            "modalities": {name: part.get("p_fake") for name, part in answer.get("modalities", {}).items()},
            "n_warnings": len(answer.get("warnings", [])),
            "error": self.error,
            "took_s": self.took_s,
            "decision": self.decision,
        }


def by_suspicion(clips: list[Clip]) -> list[Clip]:
    """The likeliest fakes first, then those without a verdict, in the order in which they came."""
    return sorted(clips, key=lambda clip: (clip.p_fake is None, -(clip.p_fake or 0.0), clip.received_at_s))
