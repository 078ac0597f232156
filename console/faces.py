"""Where the faces of a clip are, as the page draws them: in shares of the picture, at moments.

From `tracks`, `boxes`, `frame_times_s` and `picture_px` of an answer's video part; nothing where it has none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.clip import Record

DEFAULT_MARGIN = 0.05
Share = list[float]  # x, y, width, height of a rectangle, in shares of the picture


def faces_of(video: Mapping[str, Any], margin: float = DEFAULT_MARGIN) -> list[Record]:
    """One record a face: `{"track", "p_fake", "is_chosen", "boxes": [{"time_s", "box", "crop"}]}`.

    Args:
        video: `modalities.video` of an answer.
        margin: of the crop around a box, as a part of its longer side (`face_margin` of the model's spec).
    """
    picture_px, times_s = video.get("picture_px") or (0, 0), video.get("frame_times_s", [])
    if not all(picture_px):
        return []
    chosen = video.get("track", 0)
    found = []
    for track in video.get("tracks", []):
        is_chosen = track["track"] == chosen
        if is_chosen and any(video.get("boxes", [])):
            at = [(time_s, box) for time_s, box in zip(times_s, video["boxes"], strict=True) if box]
        elif track.get("box"):  # of another face the answer has the middle of its boxes
            at = [(track["start_s"], track["box"]), (track["end_s"], track["box"])]
        else:
            continue
        boxes = [
            {"time_s": time_s, "box": _share(box, picture_px), "crop": _share(_crop(box, margin), picture_px)}
            for time_s, box in at
        ]
        found.append({"track": track["track"], "p_fake": track["p_fake"], "is_chosen": is_chosen, "boxes": boxes})
    return found


def _crop(box: Sequence[float], margin: float) -> list[float]:
    """The square that the network saw of a box, but for the turn that sets the eyes level."""
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0) * (0.5 + margin)
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    return [middle_x - half, middle_y - half, middle_x + half, middle_y + half]


def _share(box: Sequence[float], picture_px: Sequence[float]) -> Share:
    (x0, y0, x1, y1), (width, height) = box, picture_px
    return [round(value, 4) for value in (x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)]
