"""Calibrations are fitted to equal priors, chosen by clips they were not fitted to, and refuse what says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.calibration import (
    METHODS,
    SERVED,
    NoBetterThanChanceError,
    compare_methods,
    crossfit,
    fit_calibration,
)
from training.evaluation.scores import Scores


def make_scores(margin: np.ndarray, labels: np.ndarray) -> Scores:
    return Scores(np.stack([-margin / 2, margin / 2], axis=1), labels, tuple(map(str, range(len(labels)))))


def test_calibration_recovers_temperature_and_bias():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-log_odds))).astype(int)
    fitted = fit_calibration(make_scores(3.0 * log_odds + 1.5, labels))  # overconfident and shifted to fake
    assert fitted.temperature == pytest.approx(3.0, rel=0.1)
    assert fitted.bias == pytest.approx(-0.5, abs=0.1)


def test_calibration_does_not_follow_the_share_of_fakes():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [900, 100])
    fitted = fit_calibration(make_scores(rng.normal(2.0 * labels - 1.0, 1.0), labels))
    assert fitted.bias == pytest.approx(0.0, abs=0.25)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.1])
def test_threshold_for_a_false_alarm_rate_keeps_to_it_and_is_the_lowest(rate):
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], [100, 50])
    scores = make_scores(rng.normal(3.0 * labels, 1.0), labels)
    fitted = fit_calibration(scores, rate)
    assert fitted.threshold != 0.5 == fit_calibration(scores).threshold
    real = fitted.p_fake(scores.logits[labels == 0])
    assert (real >= fitted.threshold).mean() == pytest.approx(rate)


def test_network_worse_than_chance_is_not_published():
    labels = np.arange(40) % 2
    with pytest.raises(ValueError, match="no better than chance"):
        fit_calibration(make_scores(1.0 - 2.0 * labels, labels))


def test_answers_that_hardly_differ_are_not_called_chance():
    """A run of a few steps may rank every clip rightly, by margins of a millionth."""
    labels = np.arange(40) % 2
    with pytest.raises(NoBetterThanChanceError, match=r"in the right order but too near to calibrate"):
        fit_calibration(make_scores(1e-6 * labels, labels))


def test_a_bias_is_left_out_where_it_earns_nothing():
    rng = np.random.default_rng(3)
    log_odds = np.abs(rng.normal(0, 2, 400))
    labels = (rng.random(400) < 1 / (1 + np.exp(-log_odds))).astype(int)
    symmetric = make_scores(
        np.concatenate([2 * log_odds, -2 * log_odds]), np.concatenate([labels, 1 - labels])
    )  # each clip and its mirror image: a bias of zero is exactly right
    fitted = fit_calibration(symmetric)
    assert fitted.bias == pytest.approx(0.0, abs=0.05)
    assert fitted.temperature == pytest.approx(2.0, rel=0.2)


def test_methods_are_compared_on_clips_they_were_not_fitted_to():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 40)
    scores = make_scores(rng.normal(0, 1, 80) + labels, labels)
    found = compare_methods(scores)
    assert tuple(found) == METHODS
    assert all(0 < one["cllr"] < 2 for one in found.values())
    expected = min(SERVED, key=lambda method: found[method]["cllr"])
    assert (fit_calibration(scores).bias != 0) == (expected == "platt")
    seen = crossfit(scores, "isotonic")
    assert seen.min() > 0
    assert seen.max() < 1


def test_too_few_groups_compare_nothing_and_take_platt():
    scores = make_scores(np.array([-1.0, 0.5, 1.0, 3.0]), np.array([0, 0, 1, 1]))
    assert compare_methods(scores) == {}
    assert fit_calibration(scores).bias != 0
