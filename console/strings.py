"""Every English word of the page, from one file."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("strings.toml")


@functools.cache
def strings() -> dict[str, Any]:
    """The file's tables."""
    return tomllib.loads(PATH.read_text(encoding="utf-8"))


def warning_advice(warning: str | dict[str, Any]) -> dict[str, str]:
    """What one warning of an answer means: `{"code", "title", "advice", "detail"}`.

    Args:
        warning: the sentence of an answer; or a record with `code` and `message`.
    """
    known = strings()["warnings"]
    if isinstance(warning, dict):
        code, detail = str(warning.get("code", "other")), str(warning.get("message", ""))
    else:
        code, detail = "", warning
    if code not in known:
        code = next((name for name, entry in known.items() if re.search(entry["match"], detail)), "other")
    return {"code": code, "title": known[code]["title"], "advice": known[code]["advice"], "detail": detail}


def error_advice(code: str) -> dict[str, str]:
    """What to do about an error: `{"title", "advice"}`."""
    known = strings()["errors"]
    entry: dict[str, str] = known.get(code, known["other"])
    return entry
