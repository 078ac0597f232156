"""A small catalogue: clips, sounds, and files that cannot be judged. `make screen-test` has what these tests need."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs the extra [screen]: make screen-test")

from samples.clip import make_sample
from tests.clips import write_audio


@pytest.fixture(scope="session")
def contents(tmp_path_factory) -> dict[str, bytes]:
    """Some contents by ending, each small."""
    clip = make_sample(tmp_path_factory.mktemp("contents") / "clip.mp4", 1.0, 320, 240, fps=10)
    return {".mp4": clip.read_bytes(), ".wav": write_audio(duration_s=1.0), ".txt": b"not a clip", ".mp3": b""}


@pytest.fixture
def catalogue(contents, tmp_path) -> Callable[[int], Path]:
    """Makes a folder of so many files, none the same as another to a digest."""

    def make(n_files: int) -> Path:
        folder = tmp_path / "catalogue"
        for index, (ending, content) in zip(range(n_files), itertools.cycle(contents.items())):
            path = folder / f"{index // 7}" / f"{index:04}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return make
