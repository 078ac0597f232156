"""Scores over time, out of an answer and its explanation, whichever of them has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WINDOW_S = 4.0  # of sound, where the answer does not say


@dataclass(frozen=True)
class Track:
    """P(fake) of pieces of one modality; a piece of no length is a moment.

    Attributes:
        starts_s, ends_s, p_fake: of each piece.
    """

    modality: str
    starts_s: list[float]
    ends_s: list[float]
    p_fake: list[float]

    def spoken(self) -> str:
        """The highest and the lowest in words, for those who do not see the line."""
        top = max(range(len(self.p_fake)), key=self.p_fake.__getitem__)
        low = min(range(len(self.p_fake)), key=self.p_fake.__getitem__)
        return (
            f"highest {self.p_fake[top]:.0%} at {self.starts_s[top]:.1f} s, "
            f"lowest {self.p_fake[low]:.0%} at {self.starts_s[low]:.1f} s"
        )

    def to_dict(self) -> dict[str, Any]:
        return {"starts_s": self.starts_s, "ends_s": self.ends_s, "p_fake": self.p_fake}


def tracks(answer: Mapping[str, Any], explanation: Mapping[str, Any]) -> list[Track]:
    """One track a modality, of those that have scores over time.

    The answer's own `scores` come first; then the frames and windows of an explanation; then the windows of an answer.
    """
    found = []
    for modality, part in answer.get("modalities", {}).items():
        track = (
            _scored(modality, part) or _explained(modality, explanation.get(modality, {})) or _windows(modality, part)
        )
        if track is not None and track.starts_s:
            found.append(track)
    return found


def _scored(modality: str, part: Mapping[str, Any]) -> Track | None:
    """Of `scores`: a list of `{"start_s", "end_s", "p_fake"}`."""
    pieces = part.get("scores")
    if not isinstance(pieces, list) or not pieces or not isinstance(pieces[0], dict):
        return None
    usable = [piece for piece in pieces if piece.get("p_fake") is not None]
    starts_s = [float(piece["start_s"]) for piece in usable]
    ends_s = [float(piece.get("end_s", piece["start_s"])) for piece in usable]
    return Track(modality, starts_s, ends_s, [float(piece["p_fake"]) for piece in usable])


def _explained(modality: str, part: Mapping[str, Any]) -> Track | None:
    if modality == "video" and part.get("frame_p_fake"):
        times_s = [float(time_s) for time_s in part["frame_times_s"]]
        return Track(modality, times_s, times_s, [float(p_fake) for p_fake in part["frame_p_fake"]])
    return _windows(modality, part)


def _windows(modality: str, part: Mapping[str, Any]) -> Track | None:
    if not part.get("window_p_fake"):
        return None
    starts_s = [float(start_s) for start_s in part["window_starts_s"]]
    effects = part.get("stretch_effect")
    length_s = part["stretch_s"] * len(effects[0]) if effects else WINDOW_S
    ends_s = [start_s + length_s for start_s in starts_s]
    # Windows may overlap; each is drawn up to where the next one starts.
    ends_s = [min(end_s, following) for end_s, following in zip(ends_s, [*starts_s[1:], ends_s[-1]], strict=True)]
    return Track(modality, starts_s, ends_s, [float(p_fake) for p_fake in part["window_p_fake"]])
