"""Where the published weights and the configuration lie: beside the packages in a checkout, inside one in the wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
PROJECT_DIR = PACKAGE_DIR.parent


def _directory(name: str) -> Path:
    packed = PACKAGE_DIR / name
    return packed if packed.is_dir() else PROJECT_DIR / name


WEIGHTS_DIR = _directory("weights")
CONFIG_DIR = _directory("config")
ARTIFACTS_DIR = PROJECT_DIR / "build" / "artifacts"  # what `make artifacts` exports and the archives carry
