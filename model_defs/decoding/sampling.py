"""Which moments of a clip are looked at, and in which order they are reached: arithmetic only.

All times are seconds on the clock of one track. A clip is cut into equal parts and each part gives one frame, so that
any frame of a part stands for it: that freedom is what makes long clips cheap (see `plan_steps`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class SamplePlan:
    """Times to sample, each the centre of its own part of the clip.

    Attributes:
        times_s: rising centres.
        spacing_s: length of one part; a frame within half of it from a centre stands for that part.
        is_capped: an interval asked for more frames than allowed, so the parts were made longer.
    """

    times_s: tuple[float, ...]
    spacing_s: float
    is_capped: bool = False


def frame_plan(
    start_s: float, duration_s: float, n_frames: int | None, interval_s: float | None, max_frames: int
) -> SamplePlan:
    """The centres of `n_frames` equal parts of a track, or of parts that are `interval_s` long.

    A clip shorter than one interval gives its middle. One that would need more than `max_frames` intervals is cut into
    `max_frames` equal parts instead, so that its end is seen as well as its start.

    Raises:
        ValueError: not exactly one of `n_frames` and `interval_s` is given, or it is not above 0.
    """
    asked = interval_s if n_frames is None else n_frames
    if (n_frames is None) == (interval_s is None) or asked is None or not asked > 0:
        raise ValueError(f"give either n_frames or interval_s above 0, not {n_frames} and {interval_s}")
    n_asked = n_frames if interval_s is None else max(1, int(min(duration_s / interval_s, max_frames + 1)))
    n_parts = min(n_asked, max_frames)
    is_capped = n_asked > max_frames
    has_whole_intervals = interval_s is not None and interval_s <= duration_s and not is_capped
    spacing_s = interval_s if has_whole_intervals else duration_s / n_parts
    return SamplePlan(tuple(start_s + (part + 0.5) * spacing_s for part in range(n_parts)), spacing_s, is_capped)


def window_starts(duration_s: float, window_s: float, max_windows: int) -> list[float]:
    """Starts of `max_windows` windows, each in the middle of its own equal part of the clip.

    Args:
        duration_s: length of the clip, at least `max_windows * window_s`.
    """
    part_s = duration_s / max_windows
    return [(index + 0.5) * part_s - window_s / 2 for index in range(max_windows)]


class Keyframes(Protocol):
    """What is known of the frames that decode without any other."""

    def before(self, time_s: float) -> float:
        """The last keyframe at or before a time; the start of the track where none is known."""

    def after(self, time_s: float) -> float | None:
        """The first keyframe at or after a time."""


@dataclass(frozen=True)
class KeyframeTimes:
    """Keyframes as a sorted list of times, with the start of the track."""

    start_s: float
    times_s: Sequence[float]

    def before(self, time_s: float) -> float:
        index = bisect_right(self.times_s, time_s)
        return self.times_s[index - 1] if index else self.start_s

    def after(self, time_s: float) -> float | None:
        index = bisect_left(self.times_s, time_s)
        return self.times_s[index] if index < len(self.times_s) else None


@dataclass(frozen=True)
class Step:
    """One seek, and the frames taken after it.

    Attributes:
        keyframe_s: where decoding starts.
        targets_s: rising times; for each, the frame nearest to it is wanted.
        is_single: the keyframe itself is the frame, so that one packet is enough.
    """

    keyframe_s: float
    targets_s: tuple[float, ...]
    is_single: bool


def plan_steps(plan: SamplePlan, keyframes: Keyframes) -> list[Step]:
    """The cheapest decoding that gives each part a frame of its own.

    A part that holds a keyframe gives the one nearest to its centre, at the cost of one decoded frame. A part inside a
    longer group of pictures is decoded forward from the keyframe before it. Parts in the same group share one run, so
    that no frame is decoded twice.
    """
    steps: list[Step] = []
    for time_s in plan.times_s:
        before_s, after_s = keyframes.before(time_s), keyframes.after(time_s)
        half_s = plan.spacing_s / 2
        near = [near_s for near_s in (before_s, after_s) if near_s is not None and -half_s <= near_s - time_s < half_s]
        key_s = min(near, key=lambda near_s: abs(near_s - time_s)) if near else before_s
        if steps and steps[-1].keyframe_s == key_s:
            # The group is decoded anyway now, so a part that was to give its keyframe gives its centre as well.
            early_s = (max(key_s, target_s) for target_s in steps[-1].targets_s)
            steps[-1] = Step(key_s, (*early_s, time_s), is_single=False)
        else:
            steps.append(Step(key_s, (time_s,), is_single=bool(near)))
    return steps
