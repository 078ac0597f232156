"""Scores over time, for the report on paper: an SVG that needs no script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup, escape

from console.scores import Track, tracks

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 150, 34, 20
DASHES = {"video": "", "audio": "6 3"}


def timeline_svg(answer: Mapping[str, Any], explanation: Mapping[str, Any], threshold: float) -> Markup:
    """The timeline of one clip; empty where nothing is known over time."""
    found = tracks(answer, explanation)
    if not found:
        return Markup("")
    end_s = max(max(track.ends_s) for track in found) or 1.0

    def x(at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - 4) * at_s / end_s

    def y(p_fake: float) -> float:
        return 4 + (HEIGHT - BOTTOM - 8) * (1 - p_fake)

    parts = [
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>'
        f'<text x="{LEFT - 4}" y="{y(level) + 4:.1f}" text-anchor="end">{level:.0%}</text>'
        for level in (0.0, 0.5, 1.0)
    ]
    parts.append(f'<line class="threshold" x1="{LEFT}" x2="{WIDTH}" y1="{y(threshold):.1f}" y2="{y(threshold):.1f}"/>')
    parts += [_line(track, x, y) for track in found]
    parts += [
        f'<text x="{x(end_s * share):.1f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{end_s * share:.1f} s</text>'
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    ]
    label = escape("; ".join(f"{track.modality}: {track.spoken()}" for track in found))
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>')


def _line(track: Track, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    points = [
        f"{x(at_s):.1f},{y(p_fake):.1f}"
        for start_s, end_s, p_fake in zip(track.starts_s, track.ends_s, track.p_fake, strict=True)
        for at_s in ((start_s, end_s) if end_s > start_s else (start_s,))
    ]
    dash = f' stroke-dasharray="{DASHES[track.modality]}"' if DASHES.get(track.modality) else ""
    dots = (
        "".join(f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="2.5"/>' for point in points)
        if track.starts_s == track.ends_s
        else ""
    )
    return f'<g class="{track.modality}"><polyline points="{" ".join(points)}"{dash}/>{dots}</g>'
