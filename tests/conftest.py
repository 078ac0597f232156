"""What several tests share: the sample clip, the exported models, and the labelled data where it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deepdetect.detector import DeepfakeDetector

PROJECT_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = PROJECT_DIR.parent / "shared" / "data"


# Below tests/: what starts a server or another program, and what trains, exports or fuzzes for more than some seconds.
SERVERS = ("end_to_end/",)
SLOW = (
    "training/test_",
    "training/compress/",
    "training/exporting/",
    "training/finetune/",
    "training/loop/",
    "loadtest/peers/",
    "model_defs/test_hostile.py",
    "model_defs/explanation/",
    "deepdetect/test_cli.py",
    "test_monitoring.py",
    "test_wheel.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by where they lie; `make test-fast` runs what is left."""
    for item in items:
        path = item.path.relative_to(PROJECT_DIR / "tests").as_posix()
        if path.startswith(SERVERS):
            item.add_marker("server")
        if path.startswith(SLOW):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def sample_clip() -> Path:
    """Ten seconds of 720p H.264 with one face and speech, which the project makes itself."""
    return _built(PROJECT_DIR / "build" / "sample.mp4", "make sample")


@pytest.fixture(scope="session")
def artifacts_dir() -> Path:
    """The exported models: `video/` and `audio/`."""
    _built(PROJECT_DIR / "build" / "artifacts" / "audio" / "manifest.json", "make artifacts")
    return _built(PROJECT_DIR / "build" / "artifacts" / "video" / "manifest.json", "make artifacts").parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The labelled clips, which are not part of the project."""
    if not DATA_DIR.is_dir():
        pytest.skip("the labelled data is not beside the project")
    return DATA_DIR


@pytest.fixture(scope="session")
def detector(artifacts_dir: Path) -> DeepfakeDetector:
    """The local detector on the exported models, without a cache."""
    from deepdetect.detector import DeepfakeDetector  # here, for tests of the client alone do without torch

    return DeepfakeDetector(artifacts_dir / "video", artifacts_dir / "audio", device="cpu", use_cache=False)


def _built(path: Path, command: str) -> Path:
    if not path.exists():
        pytest.fail(f"{path.relative_to(PROJECT_DIR)} is not there: run `{command}` first, or `make test`")
    return path
