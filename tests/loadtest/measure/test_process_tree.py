"""CPU time and memory of processes that are started here."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from loadtest.measure.process_tree import ProcessTree

CHILD = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(60)"
PARENT = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {CHILD!r}]); time.sleep(60)"


@pytest.fixture
def tree():
    process = subprocess.Popen([sys.executable, "-c", PARENT])
    tree = ProcessTree(process.pid)
    yield tree
    tree.end(timeout_s=5)
    process.wait(timeout=5)


def test_what_a_child_burns_is_counted(tree):
    deadline = time.monotonic() + 30
    while tree.cpu_s() < 0.3:
        assert time.monotonic() < deadline, "the child's 0.3 s never showed"
        time.sleep(0.05)
    assert len(tree.members()) == 2
    alone = psutil.Process(tree.members()[0].pid).memory_full_info().pss
    assert tree.memory_bytes() > alone


def test_the_end_takes_the_children_along(tree):
    deadline = time.monotonic() + 30
    while len(members := tree.members()) < 2:
        assert time.monotonic() < deadline, "the child never came"
        time.sleep(0.05)
    tree.end(timeout_s=5)
    assert not tree.is_running
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in members)
