"""The store between processes, which may die, collide, and find the file damaged."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_defs.caching.embedded_store import EmbeddedStore
from model_defs.caching.store import StoreBusy, StoreError

MIB = 2**20


def make_store(directory: Path, **arguments) -> EmbeddedStore:
    return EmbeddedStore(directory, **({"max_items": 100, "max_bytes": 10 * MIB, "timeout_s": 1.0} | arguments))


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "cache"


def test_what_one_puts_another_gets(directory):
    one, other = make_store(directory), make_store(directory)
    assert other.get("key") is None
    one.put("key", b"value")
    assert other.get("key") == b"value"
    one.put("key", b"newer")
    assert other.get("key") == b"newer"
    assert other.stats() == {"store_items": 1, "store_bytes": 4096, "store_resets": 0}


def test_only_its_owner_may_read_it(directory):
    make_store(directory).put("key", b"value")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_directory_that_others_may_write_to_is_refused(directory):
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(StoreError, match="others may write"):
        make_store(directory).get("key")


def test_a_link_in_place_of_the_file_is_not_followed(directory, tmp_path):
    directory.mkdir(mode=0o700)
    (directory / "cache.sqlite3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        make_store(directory).put("key", b"value")
    assert not (tmp_path / "elsewhere").exists()


def test_items_are_bounded_and_the_least_recently_used_goes_first(directory):
    store = make_store(directory, max_items=2, touch_after_s=0.0)
    store.put("a", b"1")
    store.put("b", b"2")
    assert store.get("a") == b"1"
    store.put("c", b"3")
    assert [store.get(key) for key in "abc"] == [b"1", None, b"3"]


def test_bytes_are_bounded_and_so_is_the_file(directory):
    store = make_store(directory, max_bytes=2 * MIB)
    for index in range(200):
        store.put(f"key {index}", os.urandom(1_000 * (index % 300 + 1)))
        assert store.stats()["store_bytes"] <= 2 * MIB
    assert store.get("key 199") is not None
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 1.25 * 2 * MIB
    store.put("large", bytes(3 * MIB))
    assert store.get("large") is None
    assert store.get("key 199") is not None


def test_a_lease_has_one_holder_and_ends_by_itself(directory):
    one, other = make_store(directory), make_store(directory)
    assert one.acquire("key", "one", 60)
    assert not other.acquire("key", "other", 60)
    other.release("key", "other")  # not its own
    assert not other.acquire("key", "other", 60)
    one.release("key", "one")
    assert other.acquire("key", "other", 0.05)
    time.sleep(0.1)
    assert one.acquire("key", "one", 60)


@pytest.mark.parametrize("damage", ["text", "half", "other format", "no tables"])
def test_a_damaged_file_is_dropped_and_begun_anew(directory, damage):
    store, bystander = make_store(directory), make_store(directory)
    for index in range(20):
        store.put(str(index), os.urandom(20_000))
    assert bystander.get("0")
    path = directory / "cache.sqlite3"
    if damage == "text":
        path.write_bytes(b"this is no database, and it is long enough to be read as one" * 1_000)
    elif damage == "half":
        path.write_bytes(path.read_bytes()[:50_000])
    elif damage == "other format":
        sqlite3.connect(path).execute("PRAGMA user_version = 99")
    else:
        sqlite3.connect(path).execute("DROP TABLE entries")
    late = make_store(directory)
    late.put("new", b"value")
    assert late.get("new") == b"value"
    assert late.stats()["store_resets"] == 1
    assert bystander.get("new") == b"value"  # it had the old file open
    bystander.put("more", b"value")
    assert late.get("more") == b"value"


def test_a_file_that_is_locked_is_busy_not_damaged(directory):
    store = make_store(directory, timeout_s=0.05)
    store.put("key", b"value")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreBusy):
        store.get("key")
    other.execute("ROLLBACK")
    assert store.get("key") == b"value"


def test_processes_that_are_killed_while_writing_leave_a_store_that_works(directory):
    program = (
        "import itertools, os, sys; from model_defs.caching.embedded_store import EmbeddedStore;"
        "store = EmbeddedStore(sys.argv[1], 50, 4 * 2**20, 5.0)\n"
        "for index in itertools.count():\n"
        "    value = os.urandom(1) * 100_000\n"
        "    store.put(str(index % 80), value)\n"
        "    found = store.get(str((index * 7) % 80))\n"
        "    assert found is None or found == found[:1] * 100_000\n"
        "    if index == 20: print('busy', flush=True)\n"
    )
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE) for _ in range(3)
        ]
        for writer in writers:
            assert writer.stdout.readline() == b"busy\n"  # and none has failed
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
    store = make_store(directory, max_items=50, max_bytes=4 * MIB)
    assert sqlite3.connect(store.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert 0 < store.stats()["store_items"] <= 50
    assert store.stats()["store_resets"] == 0
    store.put("key", b"value")
    assert store.get("key") == b"value"


def test_many_processes_may_make_the_file_at_once(directory):
    program = (
        "import sys; from model_defs.caching.embedded_store import EmbeddedStore;"
        "store = EmbeddedStore(sys.argv[1], 50, 2**20, 5.0); store.put(sys.argv[2], b'value');"
        "assert store.get(sys.argv[2]) and not store.stats()['store_resets']"
    )
    makers = [subprocess.Popen([sys.executable, "-c", program, str(directory), str(index)]) for index in range(6)]
    assert [maker.wait() for maker in makers] == [0] * 6
    assert make_store(directory).stats()["store_items"] == 6
