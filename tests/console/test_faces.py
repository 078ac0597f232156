"""Boxes of an answer, in shares of the picture."""

from __future__ import annotations

from console.faces import faces_of

VIDEO = {
    "p_fake": 0.8,
    "track": 1,
    "tracks": [
        {"track": 0, "p_fake": 0.2, "start_s": 0.5, "end_s": 2.5, "box": [0, 0, 100, 50]},
        {"track": 1, "p_fake": 0.8, "start_s": 0.5, "end_s": 1.5, "box": [100, 50, 140, 90]},
    ],
    "picture_px": [200, 100],
    "frame_times_s": [0.5, 1.5, 2.5],
    "boxes": [[100, 50, 140, 90], [120, 50, 160, 90], None],
}


def test_the_chosen_face_has_a_box_for_each_frame_that_shows_it():
    other, chosen = faces_of(VIDEO, margin=0.25)
    assert (chosen["track"], chosen["p_fake"], chosen["is_chosen"]) == (1, 0.8, True)
    assert [(one["time_s"], one["box"]) for one in chosen["boxes"]] == [
        (0.5, [0.5, 0.5, 0.2, 0.4]),
        (1.5, [0.6, 0.5, 0.2, 0.4]),
    ]
    assert chosen["boxes"][0]["crop"] == [0.45, 0.4, 0.3, 0.6]
    assert [(one["time_s"], one["box"]) for one in other["boxes"]] == [
        (0.5, [0.0, 0.0, 0.5, 0.5]),
        (2.5, [0.0, 0.0, 0.5, 0.5]),
    ]


def test_an_answer_without_places_has_no_boxes():
    assert faces_of({"p_fake": 0.5, "faces": 10, "frame_times_s": [0.5]}) == []
    assert (
        faces_of({"face": "none", "picture_px": [200, 100], "frame_times_s": [0.5], "tracks": [], "boxes": [None]})
        == []
    )
