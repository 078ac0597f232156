"""Moments as seconds, and stretches above the threshold."""

from __future__ import annotations

import pytest

from model_defs.inference.seconds import Span, per_second, segments_above


def test_a_second_is_the_mean_of_what_lies_in_it():
    scores = per_second([Span(0.0, 0.5, 0.2), Span(0.5, 1.0, 0.6), Span(1.0, 3.0, 0.8)])
    assert [(score["start_s"], score["end_s"]) for score in scores] == [(0, 1), (1, 2), (2, 3)]
    assert [score["p_fake"] for score in scores] == pytest.approx([0.4, 0.8, 0.8])


def test_seconds_that_nobody_looked_at_are_not_there():
    assert [score["start_s"] for score in per_second([Span(10.0, 11.0, 0.5), Span(99.75, 100.25, 0.5)])] == [
        10,
        99,
        100,
    ]


def test_overlapping_windows_count_by_their_share():
    scores = per_second([Span(0.0, 4.0, 0.0), Span(3.5, 7.5, 1.0)])
    assert scores[3]["p_fake"] == pytest.approx(1 / 3, abs=1e-6)


def test_one_second_of_forgery_in_five_is_a_segment():
    scores = per_second([Span(second, second + 1.0, 0.9 if second == 2 else 0.1) for second in range(5)])
    assert segments_above(scores, 0.5) == [{"start_s": 2, "end_s": 3, "p_fake": 0.9}]
    assert segments_above(scores, 0.95) == []
    assert segments_above(scores, 0.1) == [{"start_s": 0, "end_s": 5, "p_fake": 0.9}]
