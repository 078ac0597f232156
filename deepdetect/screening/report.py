"""What a screening leaves for people: `_manifest.json`, and a page of the most suspicious files with thumbnails."""

from __future__ import annotations

import base64
import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import jinja2

from deepdetect.screening.engines import Work
from deepdetect.screening.parts import printable_path
from deepdetect.screening.places import Place, open_place
from deepdetect.screening.run import Outcome, Plan
from model_defs.decoding.media import Media
from model_defs.errors import DetectionError

MANIFEST_FILE = "_manifest.json"
REVIEW_FILE = "review.html"
N_REVIEWED = 100
N_NAMED = 100  # missing files that the manifest names; all of them are counted
THUMBNAIL_PX = 160
LIBRARIES = ("torch", "av", "opencv-python-headless", "numpy", "pyarrow")


def summary(outcome: Outcome) -> dict[str, Any]:
    """Counts of verdicts and errors over the listed files."""
    verdicts = Counter(row["prediction"] for row in outcome.rows if row["error_code"] is None)
    errors = Counter(row["error_code"] for row in outcome.rows if row["error_code"] is not None)
    return {
        "listed": len(outcome.rows) + len(outcome.missing),
        "rows": len(outcome.rows),
        "missing": len(outcome.missing),
        "judged_by_this_run": outcome.n_judged,
        "verdicts": dict(sorted(verdicts.items())),
        "errors": dict(sorted(errors.items())),
    }


def write_manifest(
    place: Place, plan: Plan, outcome: Outcome, work: Work, sources: Sequence[str], engine: str, started: datetime
) -> None:
    """What was judged, by what, and whether it is complete; raises OSError."""
    record = {
        "run_id": work.run_id,
        "status": "incomplete" if outcome.missing else "complete",
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": list(sources),
        "engine": engine,
        "model_digest": plan.model_digest,
        "model": asdict(work.settings),
        "options": json.loads(plan.options_text),
        "summary": summary(outcome),
        "missing_files": [printable_path(entry) for entry in outcome.missing[:N_NAMED]],
        "versions": {name: importlib.metadata.version(name) for name in ("deepdetect", *LIBRARIES)},
    }
    (place / MANIFEST_FILE).publish((json.dumps(record, indent=2) + "\n").encode())


def write_review(place: Place, outcome: Outcome) -> int:
    """The page of the most suspicious files, highest p_fake first; returns how many it shows. Raises OSError."""
    suspects = [row for row in outcome.rows if row["error_code"] is None]
    suspects = sorted(suspects, key=lambda row: (-row["p_fake"], row["path"]))[:N_REVIEWED]
    shown = [{**row, "thumbnail": _thumbnail(row)} for row in suspects]
    loader = jinja2.PackageLoader("deepdetect.screening", "")
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("review.html.j2")
    page = template.render(rows=shown, summary=summary(outcome), made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    (place / REVIEW_FILE).publish(page.encode())
    return len(shown)


def _thumbnail(row: Mapping[str, Any]) -> str:
    """The middle frame as a JPEG data URI; empty for sound, and where the file is no longer there."""
    if row["video_p_fake"] is None:
        return ""
    try:
        place = open_place(row["path"])
        with Media(Path(place.path) if place.is_local else place.read()) as media:
            frame = media.frames(1)[0]
    except (OSError, DetectionError, ValueError):
        return ""
    image = frame.image
    scale = THUMBNAIL_PX / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
