"""What is sent to every server, and the settings that all of them share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from client.padding import unique

PROJECT_DIR = Path(__file__).resolve().parents[2]
MODALITIES = {"video": ("video",), "audio": ("audio",), "ensemble": ("video", "audio")}
MODELS = ("tiny", *MODALITIES)
TINY_BODY = bytes(range(256)) * 48  # 12 KiB, what the tiny network reads


@dataclass(frozen=True)
class Serving:
    """How a model is served, by us and by every peer.

    Attributes:
        n_workers: processes with a model of their own.
        batch_size: requests at most in one batch.
        delay_ms: how long the first request of a batch waits for others.
        decode_threads: files of a batch that are decoded side by side.
    """

    n_workers: int
    batch_size: int
    delay_ms: float
    decode_threads: int = 1

    def __str__(self) -> str:
        workers = f"{self.n_workers} worker{'s' if self.n_workers > 1 else ''}"
        return (
            f"{workers}, batches of {self.batch_size} within {self.delay_ms:g} ms, decode threads {self.decode_threads}"
        )


def serving_of(model: str) -> Serving:
    """The settings in config/<model>.yaml, which our archive is built from; `tiny` has those of audio."""
    configured = "audio" if model == "tiny" else model
    config = yaml.safe_load((PROJECT_DIR / "config" / f"{configured}.yaml").read_text())
    return Serving(
        n_workers=config["minWorkers"],
        batch_size=config["batchSize"],
        delay_ms=config["maxBatchDelay"],
        decode_threads=config["handler"]["decode_threads"],
    )


def payload(model: str, clip: bytes) -> bytes:
    """A body unlike any other, with the same verdict: the clip, or for `tiny` the bytes that it reads, and 16 more."""
    return TINY_BODY + os.urandom(16) if model == "tiny" else unique(clip)
