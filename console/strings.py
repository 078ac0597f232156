"""Every English word of the page, from one file."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("strings.toml")


@functools.cache
def strings() -> dict[str, Any]:
    """The file's tables."""
    return tomllib.loads(PATH.read_text(encoding="utf-8"))


def advice_of(answer: Mapping[str, Any]) -> list[dict[str, str]]:
    """What each warning of an answer means, in its order."""
    sentences = answer.get("warnings", [])
    codes = answer.get("warning_codes", [])
    return [
        warning_advice(sentence, code)
        for sentence, code in zip_longest(sentences, codes[: len(sentences)], fillvalue="")
    ]


def warning_advice(sentence: str, code: str = "") -> dict[str, str]:
    """What one warning means: `{"code", "title", "advice", "detail"}`.

    Args:
        sentence: of the answer; what it is about is seen in it where the code is not known.
        code: of the answer's `warning_codes`, where it has them.
    """
    known = strings()["warnings"]
    if code not in known:
        code = next((name for name, entry in known.items() if re.search(entry["match"], sentence)), "other")
    return {"code": code, "title": known[code]["title"], "advice": known[code]["advice"], "detail": sentence}


def error_advice(code: str) -> dict[str, str]:
    """What to do about an error: `{"title", "advice"}`."""
    known = strings()["errors"]
    entry: dict[str, str] = known.get(code, known["other"])
    return entry
