"""Frames in, the network's tensor out; with the real detector, upright whichever way the head is held."""

from __future__ import annotations

import threading
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model_defs.decoding.media import Frame, Media
from model_defs.preprocessing.face_detection import Face, create_detector
from model_defs.preprocessing.video import decode_video_sample, video_sample, video_tensor
from model_defs.spec import VideoSpec
from samples.clip import make_sample

SPEC = VideoSpec(size_px=32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    return make_sample(path, duration_s=2.0, width=320, height=180, audio_codec=None)


class FaceUntil:
    """Sees one face at the left edge in frames whose pixels are below `n_frames`."""

    name = "until"

    def __init__(self, n_frames: int) -> None:
        self.n_frames = n_frames

    def detect(self, image: np.ndarray) -> list[Face]:
        return [Face((-4.4, 10.2, 30.0, 50.4), 0.9)] if image[0, 0, 0] < self.n_frames else []


def frames_of(n_frames: int) -> list[Frame]:
    return [Frame(0.5 * i, np.full((60, 80, 3), i, np.uint8)) for i in range(n_frames)]


def test_one_crop_a_frame_and_each_says_what_it_shows() -> None:
    sample = video_sample(frames_of(7), SPEC, FaceUntil(4))
    assert sample.crops.shape == (7, 32, 32, 3)
    assert sample.crops.dtype == np.uint8
    assert [int(crop.mean()) for crop in sample.crops] == list(range(7))  # each from its own frame
    assert sample.times_s == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert sample.sources == ["detected", "interpolated", "interpolated", "detected", "centre", "centre", "centre"]
    assert sample.n_faces == 4
    assert sample.faces_s >= 0


def test_boxes_are_whole_pixels_inside_the_frame() -> None:
    sample = video_sample(frames_of(2), SPEC, FaceUntil(1))
    assert sample.boxes == [(0, 10, 30, 50), None]


class Watched:
    """Tells in which threads a detector was called."""

    name = "watched"

    def __init__(self) -> None:
        self.detector = create_detector("haar")
        self.threads: list[str] = []

    def detect(self, image: np.ndarray) -> list[Face]:
        self.threads.append(threading.current_thread().name.partition("_")[0])
        return self.detector.detect(image)


def test_faces_sought_while_frames_are_decoded_are_those_sought_afterwards(clip: Path) -> None:
    early, late = Watched(), Watched()
    with Media(clip) as media:
        overlapped = decode_video_sample(media, SPEC, early, n_frames=7)
    with Media(clip) as media:
        expected = video_sample(media.frames(n_frames=7), SPEC, late)
    assert np.array_equal(overlapped.crops, expected.crops)
    assert (overlapped.boxes, overlapped.sources) == (expected.boxes, expected.sources)
    assert expected.n_faces == 7
    assert len(early.threads) == len(late.threads)  # none twice
    assert early.threads.count("faces") == 3  # of frames 0, 3 and 6
    assert "faces" not in late.threads


def test_a_fault_of_the_detector_in_its_thread_reaches_the_caller(clip: Path) -> None:
    class Broken:
        name = "broken"

        def detect(self, image: np.ndarray) -> list[Face]:
            raise RuntimeError("no such layer")

    with Media(clip) as media, pytest.raises(RuntimeError, match="no such layer"):
        decode_video_sample(media, SPEC, Broken(), n_frames=4)


def test_no_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        video_sample([], SPEC, FaceUntil(0))


def test_the_tensor_is_normalised_a_channel_at_a_time() -> None:
    crops = np.zeros((2, 32, 32, 3), np.uint8)
    crops[1] = 255
    tensor = video_tensor(crops, SPEC)
    assert tensor.shape == (2, 3, 32, 32)
    assert tensor.dtype == torch.float32
    for channel, (mean, std) in enumerate(zip(SPEC.mean, SPEC.std, strict=True)):
        assert tensor[0, channel].unique().item() == pytest.approx(-mean / std, rel=1e-5)
        assert tensor[1, channel].unique().item() == pytest.approx((1 - mean) / std, rel=1e-5)


def test_the_tensor_keeps_place_and_colour() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    before = crops.copy()
    restored = video_tensor(crops, SPEC) * torch.tensor(SPEC.std).view(3, 1, 1) + torch.tensor(SPEC.mean).view(3, 1, 1)
    np.testing.assert_allclose(restored.permute(0, 2, 3, 1) * 255, crops, atol=1e-3)
    np.testing.assert_array_equal(crops, before)


@pytest.mark.parametrize(
    "crops",
    [np.zeros((2, 32, 32, 3), np.float32), np.zeros((32, 32, 3), np.uint8), np.zeros((2, 16, 16, 3), np.uint8)],
    ids=["float", "one crop", "another size"],
)
def test_other_shapes_and_types_are_refused(crops: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(T, 32, 32, 3\) uint8"):
        video_tensor(crops, SPEC)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    bgr = cv2.imread(str(files("skimage").joinpath("data", "astronaut.png")))
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def turned(image: np.ndarray, roll_deg: float) -> np.ndarray:
    """The picture turned clockwise about the face."""
    matrix = cv2.getRotationMatrix2D((226, 120), -roll_deg, 1.0)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the inner halves of two crops."""
    return float(np.corrcoef(*(crop[16:48, 16:48].reshape(-1).astype(float) for crop in (one, other)))[0, 1])


@pytest.mark.parametrize("roll_deg", [-20.0, 0.0, 20.0])
def test_a_head_held_askew_is_set_upright(portrait: np.ndarray, roll_deg: float) -> None:
    detector = create_detector("mtcnn")

    def roll_of_crop(align_eyes: bool) -> float:
        spec = VideoSpec(size_px=224, align_eyes=align_eyes)
        crop = video_sample([Frame(0.0, turned(portrait, roll_deg))], spec, detector).crops[0]
        (found,) = detector.detect(crop)
        (lx, ly), (rx, ry) = found.eyes
        return np.rad2deg(np.arctan2(ry - ly, rx - lx))

    assert roll_of_crop(align_eyes=False) == pytest.approx(roll_deg, abs=7)
    assert roll_of_crop(align_eyes=True) == pytest.approx(0, abs=5)


def test_a_moving_face_stays_in_the_middle_of_its_crops(portrait: np.ndarray) -> None:
    frames = [Frame(0.2 * i, np.roll(portrait, 3 * i, axis=1)) for i in range(7)]
    sample = video_sample(frames, VideoSpec(size_px=64), create_detector("mtcnn"))
    assert sample.n_faces == 7
    assert "interpolated" in sample.sources
    assert min(likeness(sample.crops[0], crop) for crop in sample.crops) > 0.9
