"""Tables of scores whose metrics can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data.clip import Clip
from training.evaluation import report_tables as metrics
from training.evaluation.file_scores import ClipScores
from training.evaluation.report_tables import Resampling
from training.evaluation.subset import balanced_subset

FEW = Resampling(0, 0)


def clip(index: int, label: int, *, group: str = "", source: str = "", system: str = "") -> Clip:
    return Clip(Path(f"clip_{index}"), label, group or f"group {index}", "val", source=source, system=system)


def test_breakdown_sets_each_system_against_all_real_clips(audio_candidate):
    clips = [clip(0, 0, source="a"), clip(1, 0, source="b"), clip(2, 1, source="a", system="x")]
    clips += [clip(3, 1, source="c", system="y"), clip(4, 1, source="c", system="y")]
    margins = {audio_candidate.name: np.array([-1.0, 1.0, 0.5, 2.0, 3.0])}
    found = metrics.breakdown(ClipScores(tuple(clips), margins), audio_candidate, FEW)
    assert {name: (one["clips"], one["flagged"], one["auc"]["value"]) for name, one in found["by_system"].items()} == {
        "x": (1, 1.0, 0.5),
        "y": (2, 1.0, 1.0),
    }
    assert found["by_source"]["a"]["auc"]["value"] == 1.0
    assert "auc" not in found["by_source"]["c"]
    assert found["within_source"] == {"auc": 1.0, "pairs": 1}


def test_thresholds_are_chosen_on_val_and_told_of_each_split():
    real = np.arange(20) / 20
    other = (np.array([0, 0, 1, 1]), np.array([0.1, 0.99, 0.92, 0.97]))
    val = (np.array([0] * 20 + [1]), np.append(real, 0.96))
    rows = metrics.thresholds(real, {"val": val, "test": other})
    at = {row["false_alarm_rate"]: row for row in rows}
    assert at[0.05]["splits"]["val"] == {"fpr": 0.05, "tpr": 1.0}
    assert at[0.05]["splits"]["test"] == {"fpr": 0.5, "tpr": 1.0}
    assert at[0.01]["splits"]["test"]["tpr"] == 0.5  # above 0.95


def test_crossfitting_mends_what_temperature_can_mend(audio_candidate):
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 2, 2_000)
    labels = (rng.random(2_000) < 1 / (1 + np.exp(-log_odds))).astype(int)
    clips = tuple(clip(index, label, group=f"group {index // 10}") for index, label in enumerate(labels))
    found = metrics.calibration(ClipScores(clips, {audio_candidate.name: 6.0 * log_odds}), audio_candidate)
    assert found["crossfit"]["ece"] < 0.04 < found["after"]["ece"] < found["before"]["ece"]  # the artifact divides by 2
    assert found["crossfit"]["cllr"] < found["after"]["cllr"] < found["before"]["cllr"]
    assert sum(found["before"]["counts"]) == 2_000


def test_few_groups_are_not_crossfitted(audio_candidate):
    clips = tuple(clip(index, index % 2, group=f"group {index % 3}") for index in range(30))
    found = metrics.calibration(ClipScores(clips, {audio_candidate.name: np.arange(30.0)}), audio_candidate)
    assert "crossfit" not in found


@pytest.mark.parametrize("n_clips", [4, 8, 100])
def test_subset_is_balanced_spread_and_the_same_each_time(n_clips):
    clips = [clip(index, 0, group=f"group {index % 4}") for index in range(20)] + [clip(90 + i, 1) for i in range(6)]
    chosen = balanced_subset(clips, n_clips)
    assert chosen == balanced_subset(clips[::-1], n_clips)
    labels = [one.label for one in chosen]
    assert labels.count(0) == labels.count(1) == min(n_clips // 2, 6)
    assert len({one.group for one in chosen if not one.label}) == min(n_clips // 2, 4)


def test_curves_count_a_clip_at_the_threshold_as_fake():
    labels, p_fake = np.array([0, 0, 1, 1]), np.array([0.1, 0.5, 0.5, 0.9])
    found = metrics.curves(labels, p_fake)
    points = found["operating_points"]
    rates = dict(zip(points["thresholds"], zip(points["tpr"], points["fpr"], strict=True), strict=True))
    assert len(rates) == 51
    assert (rates[0.0], rates[0.5], rates[0.52], rates[1.0]) == ((1.0, 1.0), (1.0, 0.5), (0.5, 0.0), (0.0, 0.0))
    assert found["reliability"] == {"predicted": [0.1, 0.5, 0.9], "observed": [0.0, 0.5, 1.0], "counts": [1, 2, 1]}


def test_known_and_unseen_generators_stand_against_the_same_real_clips(audio_candidate):
    clips = [clip(0, 0), clip(1, 0), clip(2, 1, system="known"), clip(3, 1, system="new"), clip(4, 1, system="new")]
    margins = {audio_candidate.name: np.array([-1.0, 1.0, 0.5, 2.0, 3.0])}
    found = metrics.generators(ClipScores(tuple(clips), margins), audio_candidate, {"known"}, FEW)
    assert {name: row["counts"]["clips"] for name, row in found.items()} == {"known": 3, "unseen": 4}
    assert found["known"]["measures"]["auc"]["value"] == 0.5
    assert found["unseen"]["measures"]["auc"]["value"] == 1.0


def test_the_surest_verdicts_are_those_farthest_from_the_threshold():
    labels, p_fake = np.array([0, 0, 1, 1]), np.array([0.05, 0.6, 0.4, 0.95])
    rows = {row["coverage"]: row for row in metrics.selective(labels, p_fake, 0.5)}
    assert rows[0.5] == {"coverage": 0.5, "clips": 2, "balanced_accuracy": 1.0}
    assert rows[1.0]["balanced_accuracy"] == 0.5
