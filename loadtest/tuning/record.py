"""What the tuner has measured so far, on disk: a search that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.tuning.pareto import Point
from loadtest.tuning.space import Setting


class Record:
    """A file with a line a measurement.

    Args:
        path: made when something is measured.
        context: what the figures hold for: archive, machine, load. A file of another context is begun anew.
    """

    def __init__(self, path: Path, context: Mapping[str, Any]) -> None:
        self.path = path
        self.context = json.loads(json.dumps(context))
        self._points: dict[tuple[Setting, int, int], Point] = {}
        for number, line in enumerate(path.read_text().splitlines() if path.exists() else []):
            try:
                entry = json.loads(line)
            except ValueError:  # it was killed while it wrote
                break
            if number == 0:
                if entry != self.context:
                    break
                continue
            key = (Setting(**entry["setting"]), entry["rung"], entry["round"])
            self._points[key] = Point(**entry["point"])

    def __len__(self) -> int:
        return len(self._points)

    def get(self, setting: Setting, rung: int, round_number: int) -> Point | None:
        return self._points.get((setting, rung, round_number))

    def add(self, setting: Setting, rung: int, round_number: int, point: Point) -> None:
        self._points[setting, rung, round_number] = point
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [self.context] + [
            {"setting": asdict(setting), "rung": rung, "round": round_number, "point": asdict(point)}
            for (setting, rung, round_number), point in self._points.items()
        ]
        part = self.path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in lines))
        part.replace(self.path)
