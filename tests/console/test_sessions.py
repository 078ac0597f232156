"""A session holds so much and no more, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.clip import Clip, State
from console.sessions import PREFIX, SessionError, Sessions, remove_leftovers
from console.settings import ConsoleSettings


@pytest.fixture
def sessions():
    found = Sessions(ConsoleSettings(max_files=2, max_session_bytes=100, max_sessions=2))
    yield found
    found.close()


def add(session, name="a", n_bytes=10) -> Clip:
    session.reserve(n_bytes)
    path = session.directory / name
    path.write_bytes(b"x" * n_bytes)
    clip = Clip(name, name, path, n_bytes)
    session.add(clip)
    session.release(n_bytes)
    return clip


def test_the_files_of_a_session_are_gone_when_it_ends(sessions):
    session = sessions.open()
    clip = add(session)
    assert session.directory.stat().st_mode & 0o777 == 0o700
    sessions.end(session)
    assert not clip.path.exists()
    assert not session.directory.exists()
    assert sessions.get(session.session_id) is None


def test_all_is_gone_when_the_console_stops(sessions):
    add(sessions.open())
    sessions.close()
    assert not sessions.directory.exists()


def test_what_a_killed_console_left_goes_when_the_next_one_starts(tmp_path):
    script = "import os, signal, console.sessions as s, console.settings as t; "
    script += "print(s.Sessions(t.ConsoleSettings()).directory, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    left, alive = Path(killed.stdout.strip()), tmp_path / f"{PREFIX}{os.getpid()}-abc"
    alive.mkdir()
    assert left.exists()
    remove_leftovers(tmp_path)
    assert not left.exists()
    assert alive.exists()


def test_files_stay_where_that_was_asked_for(tmp_path: Path):
    sessions = Sessions(ConsoleSettings(keep_dir=tmp_path / "kept"))
    clip = add(sessions.open())
    sessions.close()
    assert clip.path.exists()


def test_a_session_that_nobody_uses_ends(sessions):
    session = sessions.open()
    session.seen_at_s -= sessions.settings.idle_s + 1
    assert sessions.get(session.session_id) is None
    assert not session.directory.exists()


def test_room_counts_what_is_still_on_its_way(sessions):
    session = sessions.open()
    session.reserve(60)
    with pytest.raises(SessionError, match="100 MiB|MiB"):
        session.reserve(60)
    add(session)
    with pytest.raises(SessionError, match="up to 2 files"):
        session.reserve(1)


def test_only_so_many_sessions(sessions):
    sessions.open(), sessions.open()
    with pytest.raises(SessionError, match="2 sessions"):
        sessions.open()


def test_changes_are_told_once(sessions):
    session = sessions.open()
    clip = add(session)
    first = session.changes(0)
    assert [one["id"] for one in first["clips"]] == ["a"]
    assert session.changes(first["revision"])["clips"] == []
    assert session.move(clip, (State.WAITING,), State.RUNNING)
    assert not session.move(clip, (State.WAITING,), State.RUNNING)
    assert [one["state"] for one in session.changes(first["revision"])["clips"]] == ["running"]
    session.remove(clip)
    assert session.changes(0)["ids"] == []
    assert not clip.path.exists()


def test_another_machine_needs_a_token():
    with pytest.raises(ValueError, match="token"):
        ConsoleSettings(host="0.0.0.0")
    assert ConsoleSettings(host="0.0.0.0", token="secret").token
