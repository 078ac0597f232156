"""What a probability is worth is told by the curve that belongs to it, and by no other."""

from __future__ import annotations

import pytest

from console.validation import curves_of, judged_by, meaning

CURVE = {"reliability": {"predicted": [0.1, 0.5, 0.9], "observed": [0.0, 0.4, 1.0], "counts": [10, 5, 12]}}


def test_the_nearest_bin_of_each_split_is_taken():
    rows = meaning(
        0.55, {"val": CURVE, "test": {"reliability": {"predicted": [0.6], "observed": [0.3], "counts": [7]}}}
    )
    assert rows == [
        {"split": "val", "observed": 0.4, "n_clips": 5, "of": 27},
        {"split": "test", "observed": 0.3, "n_clips": 7, "of": 7},
    ]


@pytest.mark.parametrize(
    "curves", [{}, {"val": {}}, {"val": {"reliability": {"predicted": [], "observed": [], "counts": []}}}]
)
def test_without_a_curve_nothing_is_said(curves):
    assert meaning(0.5, curves) == []


def test_curves_are_those_of_the_variants_that_are_served():
    manifest = {
        "worker": {"variants": {"video": "int8"}},
        "artifacts": {
            "video": {"figures": {"splits": {"val": {"fp32": {"a": 1}, "int8": {"a": 2}}, "test": {"fp32": {}}}}}
        },
    }
    assert curves_of(manifest) == {"video": {"val": {"a": 2}}}


def test_fused_figures_belong_to_archives_of_both_modalities():
    part = {"figures": {"splits": {"val": {"fp32": {}}}}}
    both = {"artifacts": {"video": part, "audio": part}, "figures": {"splits": {"val": {"b": 1}}}}
    assert curves_of(both)["ensemble"] == {"val": {"b": 1}}
    assert "ensemble" not in curves_of({"artifacts": {"video": part}, "figures": both["figures"]})


def test_an_answer_of_one_modality_is_held_to_that_ones_curve():
    scored = {"p_fake": 0.5}
    assert judged_by({"modalities": {"audio": scored}}) == "audio"
    assert judged_by({"modalities": {"audio": scored, "video": {"face": "none"}}}) == "audio"
    assert judged_by({"modalities": {"audio": scored, "video": scored}}) == "ensemble"
