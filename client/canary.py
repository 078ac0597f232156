"""A new version tried on a part of the requests, or on a folder of files, beside the one it may replace.

In a client, live:

    canary = CanaryClient(HttpClient(), "ensemble", "2.0", share=0.05)
    canary.predict("ensemble", data)            # one file in twenty is judged by 2.0
    canary.comparison().disagreements

Offline, on clips: `compare` below, which `deepdetect-release canary` prints.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from client.comparison import Comparison, Outcome, Pair
from client.errors import ClientError
from client.padding import unique
from client.reply import Reply

SUFFIXES = {".mp4", ".mov", ".m4a", ".mkv", ".webm", ".avi", ".wav", ".flac", ".mp3", ".ogg", ".opus", ".aac"}
MAX_PAIRS = 10_000  # remembered by a live canary; the oldest go first
MAX_WAITING = 32  # files that wait for the second opinion; beyond it a file gets none


class Client(Protocol):
    """An HttpClient or a GrpcClient."""

    def predict(
        self,
        model: str,
        data: bytes,
        *,
        file_name: str = "",
        options: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> Reply: ...


class CanaryClient:
    """Sends a share of the requests for one model to a new version of it. Safe to share by threads.

    Which files those are is drawn from their content, so a file that comes again goes the same way. The caller gets
    the new version's answer; if the new version fails, that of the default one. In the background the default
    version judges the same files, for the comparison: that costs a share of further requests.

    Args:
        client: sends the requests.
        model: the model under trial; requests for others, and those that name a version, pass unchanged.
        version: the new version.
        share: of the files that go to it, 0 to 1.
        compare: False leaves out the second opinion, and with it the comparison.
        on_pair: called with each pair, such as a logger.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        version: str,
        share: float,
        *,
        compare: bool = True,
        on_pair: Callable[[Pair], None] | None = None,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share}; allowed: 0 to 1")
        self.client = client
        self.model = model
        self.version = version
        self.share = share
        self.compare = compare
        self.on_pair = on_pair
        self.n_new = self.n_old = self.n_rescued = 0  # requests by arm; those that the default version had to save
        self._pairs: deque[Pair] = deque(maxlen=MAX_PAIRS)
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._background = ThreadPoolExecutor(1, "canary")

    def predict(
        self,
        model: str,
        data: bytes,
        *,
        file_name: str = "",
        options: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> Reply:
        """Has one file judged; raises what the client raises."""
        call: dict[str, Any] = {"file_name": file_name, "options": options}
        if model != self.model or version:
            return self.client.predict(model, data, version=version, **call)
        sha256 = hashlib.sha256(data)
        if not in_share(sha256.digest(), self.share):
            with self._lock:
                self.n_old += 1
            return self.client.predict(model, data, **call)
        with self._lock:
            self.n_new += 1
        reply, outcome = _timed(self.client, model, data, version=self.version, **call)
        if reply is None or outcome.failed:
            with self._lock:
                self.n_rescued += 1
            started = time.perf_counter()
            reply = self.client.predict(model, data, **call)
            old = Outcome.of(reply, time.perf_counter() - started)
            self._keep(Pair(file_name or sha256.hexdigest(), old, outcome))
        elif self.compare and self._waiting.acquire(blocking=False):
            self._background.submit(self._second_opinion, file_name or sha256.hexdigest(), data, outcome, call)
        return reply

    def comparison(self) -> Comparison:
        """What both versions made of the files so far."""
        with self._lock:
            return Comparison("default", self.version, list(self._pairs))

    def close(self) -> None:
        """Returns when the last second opinion is in."""
        self._background.shutdown()

    def _second_opinion(self, name: str, data: bytes, new: Outcome, call: Mapping[str, Any]) -> None:
        try:
            # Bytes of its own, or it would be spared the decoding that the new version has just done.
            _, old = _timed(self.client, self.model, unique(data), version=None, **call)
            self._keep(Pair(name, old, new))
        finally:
            self._waiting.release()

    def _keep(self, pair: Pair) -> None:
        with self._lock:
            self._pairs.append(pair)
        if self.on_pair:
            self.on_pair(pair)


def in_share(digest: bytes, share: float) -> bool:
    """Whether a file is among the share: its digest, read as a number from 0 to 1, lies below."""
    return int.from_bytes(digest[:8], "big") < share * 2**64


def compare(
    client: Client, model: str, old: str, new: str, clips: Iterable[Path], *, n_repeats: int = 1
) -> Iterator[Pair]:
    """Has both versions judge each file, one after the other; which goes first alternates.

    Each call gets bytes of its own at the end of the file (`client.padding`), so that neither version finds an answer
    or a tensor in a cache, not even what the other has just put there.

    Args:
        old: the version to compare with.
        new: the version under trial.
        n_repeats: how often each file is judged by each.
    """
    for index, clip in enumerate(path for path in clips for _ in range(n_repeats)):
        data = clip.read_bytes()
        versions = (old, new) if index % 2 == 0 else (new, old)
        judged = {
            version: _timed(client, model, unique(data), file_name=clip.name, version=version)[1]
            for version in versions
        }
        yield Pair(str(clip), judged[old], judged[new])


def find_clips(paths: Iterable[Path], max_clips: int | None = None) -> list[Path]:
    """The files among the paths, and all media files below those that are folders, sorted.

    Args:
        max_clips: take so many, evenly spread over all.

    Raises:
        ClientError: a path is not there, or there are no files.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ClientError(f"there is no {path}")
        inside = path.rglob("*") if path.is_dir() else [path]
        found += sorted(each for each in inside if each == path or each.suffix.lower() in SUFFIXES)
    if not found:
        raise ClientError(
            f"no media files in {', '.join(map(str, paths))}; their endings: {' '.join(sorted(SUFFIXES))}"
        )
    if max_clips and max_clips < len(found):
        found = [found[index * len(found) // max_clips] for index in range(max_clips)]
    return found


def _timed(client: Client, model: str, data: bytes, **call: Any) -> tuple[Reply | None, Outcome]:
    started = time.perf_counter()
    try:
        reply = client.predict(model, data, **call)
    except ClientError as error:
        return None, Outcome.of_error(error, time.perf_counter() - started)
    return reply, Outcome.of(reply, time.perf_counter() - started)
