"""Who is at the page: one session a browser, with its files in a directory of its own, gone when it ends."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from console.clip import Clip, State
from console.settings import ConsoleSettings

logger = logging.getLogger(__name__)

PREFIX = "deepdetect-console-"  # of the directory of all sessions; then comes the console's process id


class SessionError(Exception):
    """The session has no room; `code` is for the page, the message for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Session:
    """One browser. Safe to share by threads.

    Attributes:
        session_id: the value of its cookie.
        csrf: what every request that changes something must carry besides.
        directory: where its files lie, readable by this user alone.
    """

    session_id: str
    csrf: str
    directory: Path
    settings: ConsoleSettings
    clips: dict[str, Clip] = field(default_factory=dict)
    seen_at_s: float = field(default_factory=time.monotonic)
    is_over: bool = False
    _revision: int = 0
    _reserved_bytes: int = 0
    _n_reserved: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def size_bytes(self) -> int:
        return sum(clip.size_bytes for clip in self.clips.values())

    def reserve(self, n_bytes: int) -> None:
        """Sets room for one more file of so many bytes aside.

        Raises:
            SessionError: there are too many files, or too many bytes.
        """
        with self._lock:
            if len(self.clips) + self._n_reserved >= self.settings.max_files:
                raise SessionError("too_many_files", f"a session holds up to {self.settings.max_files} files")
            if self.size_bytes + self._reserved_bytes + n_bytes > self.settings.max_session_bytes:
                limit_mib = self.settings.max_session_bytes // 2**20
                raise SessionError("session_full", f"a session holds up to {limit_mib} MiB; remove some files")
            self._n_reserved += 1
            self._reserved_bytes += n_bytes

    def release(self, n_bytes: int) -> None:
        """Gives back what `reserve` set aside."""
        with self._lock:
            self._n_reserved -= 1
            self._reserved_bytes -= n_bytes

    def add(self, clip: Clip) -> None:
        with self._lock:
            self.clips[clip.clip_id] = clip
            self.touch(clip)

    def remove(self, clip: Clip) -> None:
        """Takes a file out of the list and off the disk."""
        with self._lock:
            self.clips.pop(clip.clip_id, None)
            clip.state = State.CANCELLED
            self._revision += 1
        if self.settings.keep_dir is None:
            clip.path.unlink(missing_ok=True)

    def touch(self, clip: Clip) -> None:
        """Says that the clip has changed."""
        with self._lock:
            self._revision += 1
            clip.revision = self._revision

    def move(self, clip: Clip, allowed: tuple[State, ...], to: State) -> bool:
        """Changes the state, if it is one of those allowed; whether it was."""
        with self._lock:
            if clip.state not in allowed:
                return False
            clip.state = to
            self.touch(clip)
            return True

    def changes(self, since: int) -> dict[str, object]:
        """What has changed after a revision, and the ids of all that there is."""
        with self._lock:
            changed = [clip.summary() for clip in self.clips.values() if clip.revision > since]
            return {"revision": self._revision, "ids": list(self.clips), "clips": changed}

    def end(self) -> None:
        """Forgets everything; the files go, unless the settings say where they stay."""
        with self._lock:
            self.is_over = True
            for clip in list(self.clips.values()):
                clip.state = State.CANCELLED
            self.clips.clear()
        if self.settings.keep_dir is None:
            shutil.rmtree(self.directory, ignore_errors=True)


class Sessions:
    """All sessions of one console, and the directory that their files lie in."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        if settings.keep_dir is not None:
            settings.keep_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.keep_dir is None:
            remove_leftovers(Path(tempfile.gettempdir()))
        self.directory = settings.keep_dir or Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))

    def __iter__(self) -> Iterator[Session]:
        with self._lock:
            return iter(list(self._sessions.values()))

    def get(self, session_id: str | None) -> Session | None:
        """The session of a cookie, which counts as seen; None where there is none, or it is over."""
        self.sweep()
        session = self._sessions.get(session_id or "")
        if session is not None:
            session.seen_at_s = time.monotonic()
        return session

    def open(self) -> Session:
        """A new session.

        Raises:
            SessionError: there are as many as may be.
        """
        self.sweep()
        with self._lock:
            if len(self._sessions) >= self.settings.max_sessions:
                raise SessionError("too_many_sessions", f"{self.settings.max_sessions} sessions are open already")
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            directory = self.directory / f"session-{stamp}-{secrets.token_hex(4)}"
            directory.mkdir(mode=0o700)
            session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), directory, self.settings)
            self._sessions[session.session_id] = session
            return session

    def end(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.session_id, None)
        session.end()

    def sweep(self) -> None:
        """Ends the sessions of pages that were closed."""
        now_s = time.monotonic()
        for session in self:
            if now_s - session.seen_at_s > self.settings.idle_s:
                logger.info("a session ended after %.0f s without a request", self.settings.idle_s)
                self.end(session)

    def close(self) -> None:
        """Ends all sessions, and removes the directory."""
        for session in self:
            self.end(session)
        if self.settings.keep_dir is None:
            shutil.rmtree(self.directory, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Deletes what consoles of this user left that were killed, and so could not do it themselves."""
    for directory in parent.glob(f"{PREFIX}*-*"):
        pid = directory.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and directory.stat().st_uid == os.getuid() and not _is_alive(int(pid)):
            logger.warning("removing %s of a console that was killed", directory)
            shutil.rmtree(directory, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
