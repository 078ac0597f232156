"""The answer to the sample clip, as the README shows it: the real one, without its long lists."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from deepdetect import DeepfakeDetector

SAMPLE = Path("build/sample.mp4")
_HEAD = ("prediction", "confidence", "probabilities", "threshold")
_MODALITY = ("p_fake", "weight", "variant", "frames", "faces", "windows")
_WARNING_CHARS = 90


def sample_answer(clip: Path) -> str:
    """The answer of the local detector, which is that of the served ensemble, fenced as JSON.

    Raises:
        DetectionError, ModelLoadError: as `DeepfakeDetector.detect` does.
    """
    return shown(DeepfakeDetector(use_cache=False).detect(clip))


def shown(answer: dict) -> str:
    """An answer of the request contract in a few lines; `"..."` stands for members that are left out."""
    head = json.dumps({key: answer[key] for key in _HEAD})[1:-1]
    modalities = [
        f"{json.dumps(name)}: {_opened({key: one[key] for key in _MODALITY if key in one})}"
        for name, one in answer["modalities"].items()
    ]
    warnings = [textwrap.shorten(warning, _WARNING_CHARS, placeholder=" ...") for warning in answer["warnings"]]
    tail = _opened({"warnings": warnings})[1:]
    lines = [f"{{{head},", ' "modalities": {', "   " + ",\n   ".join(modalities) + "},", f" {tail}"]
    text = "\n".join(lines)
    return f"\n```json\n{text}\n```\n\n"


def _opened(members: dict) -> str:
    """As JSON, with a member that stands for all others."""
    return json.dumps({**members, "...": "..."}, ensure_ascii=False)
