"""The session's results as CSV, JSON, and one HTML page that can be printed and attached to a case."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from console.charts import timeline_svg
from console.clip import Clip, Record, by_suspicion
from console.detector import Detector
from console.strings import advice_of, error_advice, strings
from console.validation import curves_of, judged_by, meaning

COLUMNS = (
    "file",
    "state",
    "verdict",
    "decision",
    "p_fake",
    "threshold",
    "video_p_fake",
    "audio_p_fake",
    "model",
    "version",
    "sha256",
    "size_bytes",
    "warnings",
    "error_code",
    "error",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets run such cells; a name may not

_environment = Environment(
    loader=PackageLoader("console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def rows(clips: Sequence[Clip], threshold: float | None) -> list[Record]:
    """One record a file, the likeliest fakes first.

    Args:
        threshold: that the reviewer has set; None takes that of each answer.
    """
    return [_row(clip, threshold) for clip in by_suspicion(list(clips))]


def to_csv(clips: Sequence[Clip], threshold: float | None) -> str:
    """The records as CSV (RFC 4180), a header first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows(clips, threshold):
        writer.writerow({name: _cell(row[name]) for name in COLUMNS})
    return text.getvalue()


def to_json(clips: Sequence[Clip], threshold: float | None) -> str:
    """The records with the whole answers of the server."""
    records = [
        row | {"answer": clip.answer, "compared": clip.compared}
        for row, clip in zip(rows(clips, threshold), by_suspicion(list(clips)), strict=True)
    ]
    return json.dumps({"created": _now(), "files": records}, indent=2, ensure_ascii=False) + "\n"


def to_html(clips: Sequence[Clip], threshold: float | None, detector: Detector, title: str = "", note: str = "") -> str:
    """One page without scripts or links; pictures are inside."""
    curves = curves_of(detector.manifest_of())
    entries = []
    for clip, row in zip(by_suspicion(list(clips)), rows(clips, threshold), strict=True):
        entry: dict[str, Any] = {"row": row, "clip": clip, "advice": [], "meaning": [], "timeline": "", "heatmap": None}
        if clip.answer:
            explanation = (clip.explanation or {}).get("explanation", {})
            entry |= {
                "advice": advice_of(clip.answer),
                "meaning": meaning(row["p_fake"], curves.get(judged_by(clip.answer), {})),
                "timeline": timeline_svg(clip.explanation or clip.answer, explanation, row["threshold"]),
                "heatmap": explanation.get("video", {}).get("heatmap"),
            }
        elif clip.error:
            entry["advice"] = [error_advice(clip.error["code"]) | {"detail": clip.error["message"]}]
        entries.append(entry)
    return _environment.get_template("report.html").render(
        entries=entries, strings=strings(), created=_now(), title=title, note=note
    )


def _row(clip: Clip, threshold: float | None) -> Record:
    answer, error, p_fake = clip.answer or {}, clip.error or {}, clip.p_fake
    limit = answer.get("threshold", 0.5) if threshold is None else threshold
    parts = answer.get("modalities", {})
    return {
        "file": clip.name,
        "state": clip.state.value,
        "verdict": None if p_fake is None else "Fake" if p_fake >= limit else "Real",
        "decision": clip.decision or None,
        "p_fake": p_fake,
        "threshold": limit if answer else None,
        "video_p_fake": parts.get("video", {}).get("p_fake"),
        "audio_p_fake": parts.get("audio", {}).get("p_fake"),
        "model": answer.get("model", {}).get("name"),
        "version": answer.get("model", {}).get("version"),
        "sha256": answer.get("sha256"),
        "size_bytes": clip.size_bytes,
        "warnings": "; ".join(answer.get("warnings", [])),
        "error_code": error.get("code"),
        "error": error.get("message"),
    }


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
