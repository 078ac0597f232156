"""Scores of moments as scores of seconds, and the stretches of them that are above the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from model_defs.calibration import DIGITS

EDGE_S = 0.05  # of a second that a span only grazes


class Span(NamedTuple):
    """A moment that was scored, in seconds from the start of the clip."""

    start_s: float
    end_s: float
    p_fake: float


def per_second(spans: Sequence[Span]) -> list[dict[str, float]]:
    """One score for each second that was looked at: the mean of its spans, each as long as it lies in that second.

    Returns:
        `start_s`, `end_s` and `p_fake` of each, rising; seconds of a long clip that were not sampled are not there.
    """
    sums: dict[int, tuple[float, float]] = {}
    for span in spans:
        for second in range(math.floor(span.start_s), max(math.ceil(span.end_s), math.floor(span.start_s) + 1)):
            part_s = min(span.end_s, second + 1) - max(span.start_s, second)
            if part_s < EDGE_S and span.end_s - span.start_s > EDGE_S:
                continue
            part_s = max(part_s, EDGE_S)
            total, weight = sums.get(second, (0.0, 0.0))
            sums[second] = total + part_s * span.p_fake, weight + part_s
    return [
        {"start_s": second, "end_s": second + 1, "p_fake": round(total / weight, DIGITS)}
        for second, (total, weight) in sorted(sums.items())
    ]


def segments_above(scores: Sequence[dict[str, float]], threshold: float) -> list[dict[str, float]]:
    """Runs of seconds whose p_fake is at or above the threshold: `start_s`, `end_s`, and the highest p_fake."""
    segments: list[dict[str, float]] = []
    for score in scores:
        if score["p_fake"] < threshold:
            continue
        if segments and segments[-1]["end_s"] == score["start_s"]:
            segments[-1]["end_s"] = score["end_s"]
            segments[-1]["p_fake"] = max(segments[-1]["p_fake"], score["p_fake"])
        else:
            segments.append(dict(score))
    return segments
