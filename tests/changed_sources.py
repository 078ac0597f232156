"""A copy of what goes into an archive, with one text in it changed: another version's code, as an upgrade brings it."""

from __future__ import annotations

import shutil
from pathlib import Path

from operations.settings import PROJECT_DIR

PARTS = ("model_defs", "handlers", "config")


def changed_sources(root: Path, path: str, old: str, new: str) -> Path:
    """Copies the sources below `root`, with `new` for `old`, which must be there once, in the file `path`."""
    for part in PARTS:
        shutil.copytree(PROJECT_DIR / part, root / part, dirs_exist_ok=True)
    text = (root / path).read_text()
    assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
    (root / path).write_text(text.replace(old, new))
    return root
