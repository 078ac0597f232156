"""Which frames are searched, which face is followed, and what is said of the frames between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model_defs.decoding.media import Frame
from model_defs.preprocessing.face_detection import Face
from model_defs.preprocessing.face_tracking import NO_FACE, FaceSearch, TrackedFace, follow_faces, iou

Scene = Callable[[int], list[Face]]


class SceneDetector:
    """Answers from a script: every frame's first pixel holds its number."""

    name = "scene"

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.searched: list[int] = []
        self.shapes: set[tuple[int, ...]] = set()

    def detect(self, image: np.ndarray) -> list[Face]:
        self.searched.append(int(image[0, 0, 0]))
        self.shapes.add(image.shape)
        return self.scene(self.searched[-1])


def face(x: float, y: float = 50.0, side: float = 40.0, eyes: bool = True) -> Face:
    level = y + side * 0.4
    both = ((x + side * 0.3, level), (x + side * 0.7, level))
    return Face((x, y, x + side, y + side), 0.9, both if eyes else None)


def frames_of(n_frames: int, spacing_s: float = 0.5, shape: tuple[int, int] = (120, 200)) -> list[Frame]:
    return [Frame(i * spacing_s, np.full((*shape, 3), i, np.uint8)) for i in range(n_frames)]


def follow(scene: Scene, frames: list[Frame], **options: int) -> tuple[list[TrackedFace], SceneDetector]:
    detector = SceneDetector(scene)
    search = FaceSearch(detector, options.pop("detect_size_px", 200))
    return follow_faces(frames, search.faces, **{"detect_every": 3, **options}).faces[0], detector


def sources(tracked: list[TrackedFace]) -> str:
    """One letter a frame: d(etected), i(nterpolated), n(one)."""
    return "".join(place.source[0] for place in tracked)


def test_a_steady_face_is_sought_in_every_third_frame_and_the_last() -> None:
    tracked, detector = follow(lambda i: [face(60)], frames_of(9))
    assert sorted(detector.searched) == [0, 3, 6, 8]
    assert sources(tracked) == "diidiidid"
    assert {place.box for place in tracked} == {face(60).box}


def test_places_between_follow_the_time_not_the_count() -> None:
    pictures = [frame.image for frame in frames_of(4)]
    frames = [Frame(time_s, image) for time_s, image in zip((0.0, 0.1, 0.2, 1.0), pictures, strict=True)]
    tracked, _ = follow(lambda i: [face(60 + (10 if i == 3 else 0))], frames)
    assert [place.box[0] for place in tracked] == pytest.approx([60, 61, 62, 70])
    assert tracked[1].eyes == (pytest.approx((73, 66)), pytest.approx((89, 66)))


def test_between_frames_have_eyes_only_if_both_neighbours_have() -> None:
    tracked, _ = follow(lambda i: [face(60, eyes=i == 0)], frames_of(4))
    assert [place.eyes is not None for place in tracked] == [True, False, False, False]


def test_a_face_that_moves_far_is_sought_in_between() -> None:
    tracked, detector = follow(lambda i: [face(20 + 30 * i)], frames_of(4))
    assert len(detector.searched) == 4
    assert [place.box[0] for place in tracked] == [20, 50, 80, 110]


def test_frames_far_apart_in_time_are_never_interpolated() -> None:
    tracked, _ = follow(lambda i: [face(60)], frames_of(7, spacing_s=60.0))
    assert sources(tracked) == "d" * 7


def test_a_face_that_leaves_is_followed_up_to_where_it_left() -> None:
    tracked, _ = follow(lambda i: [face(60)] if i <= 4 else [], frames_of(10))
    assert sources(tracked)[:5] == "diidd"
    assert sources(tracked)[5:] == "n" * 5


def test_the_face_that_stays_beats_a_larger_one_passing_by() -> None:
    tracked, _ = follow(lambda i: [face(20), face(120, y=20, side=60)] if i == 3 else [face(20)], frames_of(10))
    assert {place.box[0] for place in tracked} == {20}


def test_of_two_that_stay_the_larger_is_followed_whatever_their_order() -> None:
    def scene(i: int) -> list[Face]:
        pair = [face(20, side=40), face(110, side=50)]
        return pair if i % 2 else pair[::-1]

    tracked, _ = follow(scene, frames_of(10))
    assert {place.box[0] for place in tracked} == {110}


def test_after_a_cut_the_face_of_the_new_scene_is_taken() -> None:
    tracked, _ = follow(lambda i: [face(20)] if i < 5 else [face(140)], frames_of(10))
    assert [place.box[0] for place in tracked] == [20] * 5 + [140] * 5


def test_the_middles_are_tried_when_the_key_frames_see_nothing() -> None:
    tracked, _ = follow(lambda i: [face(60)] if i in (4, 5) else [], frames_of(10))
    assert sources(tracked) == "nnnnddnnnn"


def test_giving_up_costs_fewer_searches_than_frames() -> None:
    tracked, detector = follow(lambda i: [], frames_of(64))
    assert tracked == [NO_FACE] * 64
    assert len(detector.searched) < 64


def test_no_frame_is_searched_twice() -> None:
    _, detector = follow(lambda i: [face(30 * (i % 5))], frames_of(20), detect_every=7)
    assert len(detector.searched) == len(set(detector.searched))


def test_the_search_is_on_a_small_copy_and_answers_in_frame_pixels() -> None:
    tracked, detector = follow(lambda i: [face(30, side=20)], frames_of(2, shape=(300, 400)), detect_size_px=100)
    assert detector.shapes == {(75, 100, 3)}
    assert tracked[0].box == (120, 200, 200, 280)
    assert tracked[0].eyes == (pytest.approx((144, 232)), pytest.approx((176, 232)))


def test_a_small_frame_is_not_enlarged() -> None:
    _, detector = follow(lambda i: [], frames_of(1, shape=(30, 40)), detect_size_px=100)
    assert detector.shapes == {(30, 40, 3)}


def test_one_frame_and_none() -> None:
    tracked, _ = follow(lambda i: [face(60)], frames_of(1))
    assert sources(tracked) == "d"
    assert follow(lambda i: [face(60)], [])[0] == []


def test_a_second_face_is_followed_without_another_search() -> None:
    alone, first = follow(lambda i: [face(110, side=50)], frames_of(10))
    detector = SceneDetector(lambda i: [face(20 + i, side=40), face(110, side=50)])
    both = follow_faces(frames_of(10), FaceSearch(detector, 200).faces, detect_every=3, max_faces=4)
    assert both.n_seen == 2
    assert both.faces[0] == alone
    assert detector.searched == first.searched
    assert [place.box[0] for place in both.faces[1]] == pytest.approx([20 + i for i in range(10)])


def test_faces_beyond_the_most_are_counted() -> None:
    detector = SceneDetector(lambda i: [face(40 * n, y=5 + 60 * m, side=30) for n in range(3) for m in range(2)])
    many = follow_faces(frames_of(7), FaceSearch(detector, 200).faces, detect_every=3, max_faces=4)
    assert (len(many.faces), many.n_seen) == (4, 6)


def test_a_face_seen_once_beside_another_is_none() -> None:
    detector = SceneDetector(lambda i: [face(20), *([face(120)] if i == 3 else [])])
    followed = follow_faces(frames_of(10), FaceSearch(detector, 200).faces, detect_every=3, max_faces=4)
    assert (len(followed.faces), followed.n_seen) == (1, 1)


def test_a_second_face_that_jumps_is_not_placed_in_between() -> None:
    detector = SceneDetector(lambda i: [face(90, y=60, side=60), face(5 if i < 4 else 35, y=5, side=40)])
    followed = follow_faces(frames_of(7), FaceSearch(detector, 200).faces, detect_every=3, max_faces=4)
    assert sources(followed.faces[1]) == "diidnnd"


def test_overlap_of_boxes() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1.0
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0
