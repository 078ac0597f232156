"""From sampled frames to what a video network is fed; the same code in training, detector and archive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from model_defs.decoding.media import Frame, Media
from model_defs.preprocessing.face_crop import crop_face
from model_defs.preprocessing.face_detection import FaceDetector
from model_defs.preprocessing.face_tracking import FaceSearch, TrackedFace, follow_faces
from model_defs.spec import VideoSpec

IntBox = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels, inside the frame


@dataclass(frozen=True)
class FaceCrops:
    """The crops of one face, in rising time.

    Attributes:
        crops: (K, S, S, 3) uint8 RGB.
        frames: which of the sampled frames each is from.
        sources: K of `detected`, `interpolated` or `centre`.
        boxes: K boxes, None for the centre of a frame.
    """

    crops: np.ndarray
    frames: list[int]
    sources: list[str]
    boxes: list[IntBox | None]


@dataclass(frozen=True)
class VideoSample:
    """The crops of one clip, and where they come from.

    Attributes:
        crops: (T, S, S, 3) uint8 RGB, of the weightiest face in every frame.
        times_s: T times, from the start of the clip.
        sources: T of `detected`, `interpolated` (a face) or `centre` (no face: the middle of the frame).
        boxes: T face boxes, None where there is no face.
        faces_s: wall seconds that finding and cutting took, less what was done while frames were decoded.
        frame_px: width and height of the frames, in whose pixels boxes are.
        spacing_s: the part of the clip that each frame stands for; 0 where that is not known.
        n_seen: faces that stayed in the picture, whether followed or not.
        other_crops: (M, S, S, 3) uint8 RGB, of further faces, one after the other.
        others: for each of those faces `frames`, `sources` and `boxes` as in `FaceCrops`.
    """

    crops: np.ndarray
    times_s: list[float]
    sources: list[str]
    boxes: list[IntBox | None]
    faces_s: float
    frame_px: tuple[int, int] = (0, 0)
    spacing_s: float = 0.0
    n_seen: int = 0
    other_crops: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0, 3), np.uint8))
    others: list[dict] = field(default_factory=list)

    @property
    def n_faces(self) -> int:
        """Frames with a face."""
        return sum(box is not None for box in self.boxes)

    def faces(self) -> list[FaceCrops]:
        """What is scored: of each face the frames that show it; of a clip without any the centre of every frame."""
        shown = [i for i, box in enumerate(self.boxes) if box is not None] or list(range(len(self.boxes)))
        sources, boxes = [self.sources[i] for i in shown], [self.boxes[i] for i in shown]
        crops = self.crops if len(shown) == len(self.crops) else self.crops[shown]
        found, start = [FaceCrops(crops, shown, sources, boxes)], 0
        for other in self.others:
            end = start + len(other["frames"])
            found.append(FaceCrops(self.other_crops[start:end], **other))
            start = end
        return found


def decode_video_sample(
    media: Media,
    spec: VideoSpec,
    detector: FaceDetector,
    *,
    n_frames: int | None = None,
    interval_s: float | None = None,
) -> VideoSample:
    """`video_sample` of a clip's frames; the first faces are sought while later frames are decoded.

    Raises:
        DetectionError: see `Media.frames`.
    """
    with FaceSearch(detector, spec.detect_size_px) as search:

        def begin(index: int, frame: Frame) -> None:
            if index % spec.detect_every == 0:  # these are searched in any case
                search.begin(frame)

        return _sample(media.frames(n_frames, interval_s, on_frame=begin), spec, search)


def video_sample(frames: Sequence[Frame], spec: VideoSpec, detector: FaceDetector) -> VideoSample:
    """Follows a face through `frames` and cuts it out of each; as many crops as frames.

    Raises:
        ValueError: there are no frames.
    """
    if not frames:
        raise ValueError("no frames: a video sample takes at least one")
    return _sample(frames, spec, FaceSearch(detector, spec.detect_size_px))


def _sample(frames: Sequence[Frame], spec: VideoSpec, search: FaceSearch) -> VideoSample:
    started = time.perf_counter()
    followed = follow_faces(frames, search.faces, detect_every=spec.detect_every, max_faces=spec.max_faces)
    first, *rest = (_cut(frames, tracked, spec) for tracked in followed.faces)
    others = [_shown(face) for face in rest]
    height, width = frames[0].image.shape[:2]
    return VideoSample(
        crops=first.crops,
        times_s=[frame.time_s for frame in frames],
        sources=first.sources,
        boxes=first.boxes,
        faces_s=time.perf_counter() - started,
        frame_px=(width, height),
        spacing_s=(frames[-1].time_s - frames[0].time_s) / (len(frames) - 1) if len(frames) > 1 else 0.0,
        n_seen=followed.n_seen,
        other_crops=np.concatenate([face.crops for face in others]) if others else first.crops[:0],
        others=[{"frames": face.frames, "sources": face.sources, "boxes": face.boxes} for face in others],
    )


def _cut(frames: Sequence[Frame], tracked: Sequence[TrackedFace], spec: VideoSpec) -> FaceCrops:
    """A crop of every frame."""
    return FaceCrops(
        np.stack([crop_face(frame.image, face, spec) for frame, face in zip(frames, tracked, strict=True)]),
        list(range(len(frames))),
        ["centre" if face.box is None else face.source for face in tracked],
        [_whole_pixels(face, frame.image) for frame, face in zip(frames, tracked, strict=True)],
    )


def _shown(face: FaceCrops) -> FaceCrops:
    """Only the frames that show the face."""
    shown = [i for i, box in enumerate(face.boxes) if box is not None]
    return FaceCrops(face.crops[shown], shown, [face.sources[i] for i in shown], [face.boxes[i] for i in shown])


def video_tensor(crops: np.ndarray, spec: VideoSpec) -> torch.Tensor:
    """Crops as the network takes them: scaled to 0..1, less `spec.mean`, over `spec.std`, a channel at a time.

    Args:
        crops: (T, S, S, 3) uint8 RGB with S = `spec.size_px`.

    Returns:
        (T, 3, S, S) float32.

    Raises:
        ValueError: the crops have another shape or type.
    """
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (spec.size_px, spec.size_px, 3):
        raise ValueError(
            f"crops are {crops.shape} {crops.dtype}; expected (T, {spec.size_px}, {spec.size_px}, 3) uint8"
        )
    mean = torch.tensor(spec.mean) * 255
    std = torch.tensor(spec.std) * 255
    pixels = torch.from_numpy(np.ascontiguousarray(crops)).to(torch.float32)
    return pixels.sub_(mean).div_(std).permute(0, 3, 1, 2).contiguous()


def _whole_pixels(face: TrackedFace, image: np.ndarray) -> IntBox | None:
    if face.box is None:
        return None
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in face.box)
    return max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
