"""Scores over time are found wherever an answer has them."""

from __future__ import annotations

from console.scores import Track, tracks

ANSWER = {
    "modalities": {
        "video": {"p_fake": 0.3, "frame_times_s": [0.5, 1.5]},
        "audio": {"p_fake": 0.6, "window_starts_s": [0.0, 3.0], "window_p_fake": [0.7, 0.5]},
    }
}


def test_windows_of_an_answer_end_where_the_next_one_starts():
    assert tracks(ANSWER, {}) == [Track("audio", [0.0, 3.0], [3.0, 7.0], [0.7, 0.5])]


def test_an_explanation_adds_the_frames_and_the_length_of_a_window():
    explanation = {
        "video": {"frame_times_s": [0.5, 1.5], "frame_p_fake": [0.2, 0.4]},
        "audio": {"window_starts_s": [0.0], "window_p_fake": [0.7], "stretch_s": 0.5, "stretch_effect": [[0.1] * 4]},
    }
    assert tracks(ANSWER, explanation) == [
        Track("video", [0.5, 1.5], [0.5, 1.5], [0.2, 0.4]),
        Track("audio", [0.0], [2.0], [0.7]),
    ]


def test_the_answers_own_scores_come_first():
    pieces = [{"start_s": 0, "end_s": 1, "p_fake": 0.1}, {"start_s": 1, "end_s": 2, "p_fake": None}]
    answer = {"modalities": {"video": {"p_fake": 0.1, "scores": pieces}}}
    explanation = {"video": {"frame_times_s": [0.5], "frame_p_fake": [0.9]}}
    assert tracks(answer, explanation) == [Track("video", [0.0], [1.0], [0.1])]


def test_the_extremes_are_said_in_words():
    assert Track("audio", [0.0, 3.0], [3.0, 6.0], [0.25, 0.75]).spoken() == "highest 75% at 3.0 s, lowest 25% at 0.0 s"
