"""Prints what the image installs: the requirements of the package and of its extra `serve`, from pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print("\n".join([*project["dependencies"], *project["optional-dependencies"]["serve"]]))
