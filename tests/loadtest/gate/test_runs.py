"""Archives to compare with."""

from __future__ import annotations

import subprocess

import pytest

from loadtest.gate import runs as candidates
from operations.settings import PROJECT_DIR


def test_what_is_neither_folder_nor_revision_is_refused(tmp_path):
    with pytest.raises(candidates.GateError, match="neither a folder of archives nor a git revision"):
        candidates.other_archives("no-such-thing", ["audio"], tmp_path)
    with pytest.raises(candidates.GateError, match=r"no audio\.mar"):
        candidates.other_archives(str(tmp_path), ["audio"], tmp_path)


def test_archives_of_a_revision_hold_its_code(tmp_path, artifacts_dir):
    if subprocess.run(["git", "-C", PROJECT_DIR, "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("not a git checkout")
    store = candidates.other_archives("HEAD", ["audio"], tmp_path)
    assert (store / "audio.mar").stat().st_size > 100_000
