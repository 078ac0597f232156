"""The store that the workers of one machine share: an SQLite file.

Processes may be killed at any moment: what was being written is rolled back by the next one that opens the file.
Only a crash of the machine can damage it, for nothing waits for the disk; a damaged file is dropped, and begun anew.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from model_defs.caching.store import StoreBusy, StoreError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

FORMAT = 1  # of the tables; a file of another format is dropped
FILE_NAME = "cache.sqlite3"
DEFAULT_DIRECTORY = "deepdetect-cache"  # in the temporary directory
TOUCH_AFTER_S = 30.0  # a use is noted this long after the last one that was: reading need not write each time
PAGE_BYTES = 4_096
SLACK = 1.25  # the file may be larger than its values by this: keys, order of use, leases
MIN_PAGES = 64

# The journal is truncated, and no WAL: the file may be dropped while others have it open, and whoever closes the last
# WAL connection removes the WAL file by name, that of the new store included.
PRAGMAS = ("journal_mode = TRUNCATE", "synchronous = OFF", f"page_size = {PAGE_BYTES}")
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, n_bytes INTEGER, used_s REAL, value BLOB)",
    "CREATE INDEX IF NOT EXISTS by_use ON entries (used_s, n_bytes)",
    "CREATE TABLE IF NOT EXISTS leases (key TEXT PRIMARY KEY, owner TEXT, until_s REAL)",
    f"PRAGMA user_version = {FORMAT}",
)


class EmbeddedStore:
    """Entries in one file of mode 0600, in a directory of mode 0700; the least recently used go first.

    Args:
        directory: where the file lies; made if need be. Empty: `deepdetect-cache` in the temporary directory.
        max_items: entries kept.
        max_bytes: bytes kept in values, in whole pages of 4 KiB; the file itself stays below 1.25 times that.
        timeout_s: how long a call waits for other processes.
        touch_after_s: see TOUCH_AFTER_S.
    """

    name = "embedded"

    def __init__(
        self,
        directory: str | Path,
        max_items: int,
        max_bytes: int,
        timeout_s: float = 0.1,
        touch_after_s: float = TOUCH_AFTER_S,
    ) -> None:
        self.directory = Path(directory) if directory else Path(tempfile.gettempdir(), DEFAULT_DIRECTORY)
        self.path = self.directory / FILE_NAME
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._touch_after_s = touch_after_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        self._resets = 0

    def get(self, key: str) -> bytes | None:
        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT value, used_s FROM entries WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            value, used_s = row
            if (now_s := time.time()) - used_s > self._touch_after_s:
                with suppress(sqlite3.OperationalError):  # somebody else writes: the order of use is a little off
                    connection.execute("UPDATE entries SET used_s = ? WHERE key = ?", (now_s, key))
            return value

        return self._run(read)

    def put(self, key: str, value: bytes) -> None:
        n_bytes = _whole_pages(value)
        if n_bytes > self._max_bytes or not self._max_items:
            return

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                connection.execute("DELETE FROM entries WHERE key = ?", (key,))
                self._make_room(connection, n_bytes)
                row = key, n_bytes, time.time(), value
                connection.execute("INSERT INTO entries (key, n_bytes, used_s, value) VALUES (?, ?, ?, ?)", row)

        self._run(write)

    def acquire(self, key: str, owner: str, lease_s: float) -> bool:
        def take(connection: sqlite3.Connection) -> bool:
            now_s = time.time()
            with _transaction(connection):
                connection.execute("DELETE FROM leases WHERE until_s < ?", (now_s,))
                row = key, owner, now_s + lease_s
                return connection.execute("INSERT OR IGNORE INTO leases VALUES (?, ?, ?)", row).rowcount == 1

        return self._run(take)

    def release(self, key: str, owner: str) -> None:
        self._run(lambda connection: connection.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, owner)))

    def ping(self) -> None:
        self._run(lambda connection: connection.execute("SELECT 1 FROM entries LIMIT 1").fetchone())

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def stats(self) -> dict[str, int]:
        """`store_items` and `store_bytes` in it, and `store_resets`: how often this process found it damaged."""
        count = "SELECT COUNT(*), COALESCE(SUM(n_bytes), 0) FROM entries"
        try:
            items, n_bytes = self._run(lambda connection: connection.execute(count).fetchone())
        except StoreError:
            items, n_bytes = 0, 0
        return {"store_items": items, "store_bytes": n_bytes, "store_resets": self._resets}

    def _make_room(self, connection: sqlite3.Connection, n_bytes: int) -> None:
        """Drops the least recently used entries until one more of `n_bytes` has room."""
        items, held = connection.execute("SELECT COUNT(*), COALESCE(SUM(n_bytes), 0) FROM entries").fetchone()
        oldest = connection.execute("SELECT key, n_bytes FROM entries ORDER BY used_s")
        dropped = []
        while items + 1 > self._max_items or held + n_bytes > self._max_bytes:
            key, size = oldest.fetchone()
            dropped.append((key,))
            items, held = items - 1, held - size
        oldest.close()
        connection.executemany("DELETE FROM entries WHERE key = ?", dropped)

    def _run(self, call: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._lock:
            for is_last in (False, True):
                try:
                    return call(self._connected())
                except sqlite3.DatabaseError as error:
                    if _is_damage(error) and not is_last:
                        self._drop(error)
                        continue
                    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                        raise StoreBusy(f"{self.path} was locked for {self._timeout_s:g} s") from error
                    raise StoreError(f"{self.path}: {error}") from error
                except OSError as error:
                    raise StoreError(f"{self.path}: {error.strerror or error}") from error
        raise AssertionError("unreachable")

    def _connected(self) -> sqlite3.Connection:
        """The connection to the file that now lies at `path`: another process may have dropped the one before."""
        if self._connection is not None:
            with suppress(FileNotFoundError):
                if self.path.stat().st_ino == self._inode:
                    return self._connection
            self._disconnect()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_own(self.directory.stat(), self.directory)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            found = os.fstat(file)
            _require_own(found, self.path)
            os.fchmod(file, 0o600)
        finally:
            os.close(file)
        connection = sqlite3.connect(self.path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False)
        try:
            max_pages = max(MIN_PAGES, int(SLACK * self._max_bytes) // PAGE_BYTES)
            for pragma in (*PRAGMAS, f"max_page_count = {max_pages}"):
                connection.execute(f"PRAGMA {pragma}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, FORMAT):
                raise sqlite3.DatabaseError(f"format {version}, not {FORMAT}")
            if version == 0:
                with _transaction(connection):
                    for statement in SCHEMA:
                        connection.execute(statement)
        except BaseException:
            connection.close()
            self._inode = found.st_ino
            raise
        self._connection, self._inode = connection, found.st_ino
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _drop(self, error: sqlite3.DatabaseError) -> None:
        """Removes a file that cannot be used, unless another process has done so."""
        logger.warning("cache: %s is damaged (%s) and is begun anew", self.path, error)
        self._resets += 1
        inode = self._inode
        self._disconnect()
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if self.path.stat().st_ino == inode:
                    self.path.with_name(f"{FILE_NAME}-journal").unlink(missing_ok=True)
                    self.path.unlink()
        finally:
            os.close(directory)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Takes the write lock at once: one that is taken after reading can be refused without waiting."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors end it
            connection.execute("ROLLBACK")
        raise


def _whole_pages(value: bytes) -> int:
    """Bytes that a value takes in the file, about."""
    return -(-len(value) // PAGE_BYTES) * PAGE_BYTES


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is at fault, and not a lock, a full disk or missing rights."""
    if isinstance(error, sqlite3.OperationalError):  # such as "no such table": half a file
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return True


def _require_own(found: os.stat_result, path: Path) -> None:
    """Refuses what another user made, or may write to."""
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(f"{path} belongs to another user, or others may write to it")
