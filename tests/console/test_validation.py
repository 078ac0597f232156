"""What a probability is worth is told by the curve that belongs to it, and by no other."""

from __future__ import annotations

import pytest

from console.validation import curves_of, judged_by, meaning

# Of 30 real and 20 fake clips: 20 real in the first bin; 10 real, 5 fake; 15 fake.
BINS = {"predicted": [0.1, 0.5, 0.9], "observed": [0.0, 0.4286, 1.0], "counts": [20, 15, 15]}
CURVE = {"reliability": BINS, "counts": {"clips": 50, "fake": 20}}


def test_the_bin_of_the_score_is_told_where_it_is_full_enough():
    assert meaning(0.12, {"val": CURVE}) == [{"split": "val", "observed": 0.0, "n_clips": 20, "low": 0.1, "high": 0.1}]


def test_neighbours_are_added_until_there_are_enough_clips():
    (row,) = meaning(0.8, {"test": CURVE})
    assert (row["split"], row["n_clips"], row["low"], row["high"]) == ("test", 30, 0.5, 0.9)
    assert row["observed"] == pytest.approx((20 / 20) / (20 / 20 + 10 / 30), abs=1e-4)  # both classes weigh alike


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
