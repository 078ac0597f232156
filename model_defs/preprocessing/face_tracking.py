"""The faces of a clip followed through its sampled frames, without looking for them in every one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import cv2

from model_defs.decoding.media import Frame
from model_defs.preprocessing.face_detection import Box, Eyes, Face, FaceDetector

SAME_FACE_IOU = 0.1  # overlap from which two detections in a row are taken for one face that moved
STEADY_IOU = 0.5  # overlap from which the places between two detections may be interpolated
MIN_SIGHTINGS = 2  # of a face beside the first: one alone is as often a detector's error
MAX_BRIDGE_S = 10.0  # frames further apart may show different scenes: never interpolated


@dataclass(frozen=True)
class TrackedFace:
    """Where the followed face is in one frame, in the pixels of that frame.

    Attributes:
        box: x0, y0, x1, y1; None where no face was found.
        eyes: the one further left in the picture first; None where the detector gave none.
        source: `detected` in this frame, `interpolated` by time between two others, or `none`.
    """

    box: Box | None
    eyes: Eyes | None
    source: str


NO_FACE = TrackedFace(None, None, "none")


class FaceSearch:
    """The faces of one clip's frames, each looked for when it is asked for, or ahead of that in a thread of its own.

    Args:
        detector: how faces are found.
        detect_size_px: long side of the copy that is searched; smaller images are searched as they are.
    """

    def __init__(self, detector: FaceDetector, detect_size_px: int) -> None:
        self._detector = detector
        self._detect_size_px = detect_size_px
        self._thread: ThreadPoolExecutor | None = None
        self._begun: dict[int, tuple[Frame, Future[list[Face]]]] = {}

    def __enter__(self) -> FaceSearch:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def begin(self, frame: Frame) -> None:
        """Looks for the faces of a frame while its caller goes on."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "faces")
        self._begun[id(frame)] = frame, self._thread.submit(self._detect, frame)

    def faces(self, frame: Frame) -> list[Face]:
        """All faces of a frame, in its pixels."""
        known = self._begun.get(id(frame))
        return self._detect(frame) if known is None else known[1].result()

    def _detect(self, frame: Frame) -> list[Face]:
        height, width = frame.image.shape[:2]
        shrink = self._detect_size_px / max(height, width)
        if shrink >= 1:
            return self._detector.detect(frame.image)
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        faces = self._detector.detect(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA))
        sx, sy = width / size[0], height / size[1]
        return [_scaled(face, sx, sy) for face in faces]


@dataclass(frozen=True)
class FollowedFaces:
    """The faces of one clip.

    Attributes:
        faces: where each is, one entry a frame; the weightiest first. There is always one, which may be nowhere.
        n_seen: faces that stayed, those beyond the ones that were followed included.
    """

    faces: list[list[TrackedFace]]
    n_seen: int


def follow_faces(
    frames: Sequence[Frame], find: Callable[[Frame], list[Face]], *, detect_every: int, max_faces: int = 1
) -> FollowedFaces:
    """The largest and most persistent face, and others beside it.

    Faces are sought in every `detect_every`-th frame and the last, then in the middle of each gap
    that the first face does not bridge steadily, until every gap is bridged, has no face at either end, or
    is closed. Where nothing was seen at all the middles are tried once before giving up. Other faces are taken from
    what that search has seen: they cost no search of their own, and count from `MIN_SIGHTINGS` on.

    Args:
        frames: in order of time; each image (H, W, 3) uint8 RGB.
        find: all faces of a frame, in its pixels.
        detect_every: frames from one detection to the next.
        max_faces: followed at most.
    """
    if not frames:
        return FollowedFaces([[]], 0)
    last = len(frames) - 1
    seen = {i: find(frames[i]) for i in {*range(0, last, detect_every), last}}
    if not any(seen.values()):
        for start, end in _gaps(seen):
            middle = (start + end) // 2
            seen[middle] = find(frames[middle])
    while True:
        people = _people(seen)
        open_gaps = [gap for gap in _gaps(seen) if not _is_settled(gap, people[0], frames)]
        if not open_gaps:
            stayed = [people[0], *(one for one in people[1:] if _n_sightings(one) >= MIN_SIGHTINGS)]
            followed = [[_place(i, one, frames) for i in range(len(frames))] for one in stayed[:max_faces]]
            return FollowedFaces(followed, len(stayed) if _n_sightings(people[0]) else 0)
        for start, end in open_gaps:
            middle = (start + end) // 2
            seen[middle] = find(frames[middle])


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (_area(one) + _area(other) - both)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _scaled(face: Face, sx: float, sy: float) -> Face:
    x0, y0, x1, y1 = face.box
    eyes = None
    if face.eyes is not None:
        (lx, ly), (rx, ry) = face.eyes
        eyes = (lx * sx, ly * sy), (rx * sx, ry * sy)
    return Face((x0 * sx, y0 * sy, x1 * sx, y1 * sy), face.score, eyes)


def _people(seen: dict[int, list[Face]]) -> list[dict[int, Face | None]]:
    """In each searched frame the face of each person; the weightiest first, nobody where there is none.

    A track weighs the sum of its boxes' sides: twice as large counts as much as twice as often. Tracks that are never
    seen in one frame are taken for one person, who moved or was cut to.
    """
    people: list[dict[int, Face]] = []
    for track in sorted(_tracks(seen), key=lambda known: -sum(_area(face.box) ** 0.5 for face in known.values())):
        one = next((one for one in people if not one.keys() & track.keys()), None)
        if one is None:
            people.append(dict(track))
        else:
            one.update(track)
    return [{i: one.get(i) for i in sorted(seen)} for one in people or [{}]]


def _tracks(seen: dict[int, list[Face]]) -> list[dict[int, Face]]:
    """Detections that overlap from one searched frame to the next, each by the index of its frame."""
    tracks: list[dict[int, Face]] = []
    latest: list[Face] = []  # of each track
    for i in sorted(seen):
        free = set(range(len(tracks)))
        for face in sorted(seen[i], key=lambda found: -_area(found.box)):
            which = max(free, key=lambda index: iou(latest[index].box, face.box), default=None)
            if which is not None and iou(latest[which].box, face.box) >= SAME_FACE_IOU:
                free.discard(which)
                tracks[which][i] = latest[which] = face
            else:
                tracks.append({i: face})
                latest.append(face)
    return tracks


def _n_sightings(one: dict[int, Face | None]) -> int:
    return sum(face is not None for face in one.values())


def _gaps(seen: dict[int, list[Face]]) -> list[tuple[int, int]]:
    """Neighbours among the searched frames that have others between them."""
    searched = sorted(seen)
    return [(a, b) for a, b in itertools.pairwise(searched) if b - a > 1]


def _is_settled(gap: tuple[int, int], chosen: dict[int, Face | None], frames: Sequence[Frame]) -> bool:
    """Whether the frames in `gap` need no detection of their own."""
    start, end = gap
    one, other = chosen[start], chosen[end]
    if one is None or other is None:
        return one is other
    return frames[end].time_s - frames[start].time_s <= MAX_BRIDGE_S and iou(one.box, other.box) >= STEADY_IOU


def _place(i: int, chosen: dict[int, Face | None], frames: Sequence[Frame]) -> TrackedFace:
    """What is known of frame `i`: its own detection, or the line between its searched neighbours."""
    if i in chosen:
        face = chosen[i]
        return NO_FACE if face is None else TrackedFace(face.box, face.eyes, "detected")
    start = max(j for j in chosen if j < i)
    end = min(j for j in chosen if j > i)
    one, other = chosen[start], chosen[end]
    if one is None or other is None or not _is_settled((start, end), chosen, frames):
        return NO_FACE
    span_s = frames[end].time_s - frames[start].time_s
    share = (frames[i].time_s - frames[start].time_s) / span_s if span_s > 0 else 0.5
    eyes = None
    if one.eyes is not None and other.eyes is not None:
        left, right = (tuple(_between(a, b, share)) for a, b in zip(one.eyes, other.eyes, strict=True))
        eyes = left, right
    return TrackedFace(tuple(_between(one.box, other.box, share)), eyes, "interpolated")


def _between(one: Sequence[float], other: Sequence[float], share: float) -> list[float]:
    return [a + (b - a) * share for a, b in zip(one, other, strict=True)]
