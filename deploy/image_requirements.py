"""Prints what the image installs: the requirements of the package and of the extras named, from pyproject.toml."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for name in sys.argv[1:] for line in project["optional-dependencies"][name]]
    print("\n".join([*project["dependencies"], *extras]))
