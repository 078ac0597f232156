"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.metrics import (
    ALL_MEASURES,
    calibration_error_by_chance,
    equal_error_rate,
    expected_calibration_error,
    log_likelihood_ratio_cost,
    reliability,
    summarize,
    threshold_at,
    within_source_auc,
)

LABELS = [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("p_fake", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], 0.0),  # apart
        ([0.9, 0.8, 0.7, 0.3, 0.2, 0.1], 1.0),  # the wrong way round
        ([0.1, 0.2, 0.8, 0.3, 0.7, 0.9], 1 / 3),  # one of three of each on the wrong side
        ([0.5] * 6, 0.5),  # no information
    ],
)
def test_equal_error_rate(p_fake, expected):
    assert equal_error_rate(LABELS, p_fake) == pytest.approx(expected)


def test_figures_of_a_small_case():
    # Of the nine pairs (real, fake) seven are in order; at 0.5 one real and one fake clip are wrong.
    metrics = summarize(LABELS, [0.1, 0.2, 0.8, 0.3, 0.7, 0.9], n_resamples=0)
    assert metrics["auc"].value == pytest.approx(7 / 9)
    assert metrics["accuracy"].value == pytest.approx(4 / 6)
    assert metrics["auc"].low == metrics["auc"].value == metrics["auc"].high


def test_balanced_accuracy_weighs_the_classes_alike():
    metrics = summarize([0] * 9 + [1], [0.1] * 10, n_resamples=0)
    assert metrics["accuracy"].value == pytest.approx(0.9)
    assert metrics["balanced_accuracy"].value == pytest.approx(0.5)


def test_intervals_hold_the_value_and_narrow_with_more_clips():
    rng = np.random.default_rng(0)
    widths = []
    for n_clips in (40, 1_000):
        labels = np.arange(n_clips) % 2
        p_fake = np.clip(0.4 + 0.2 * labels + rng.normal(0, 0.2, n_clips), 0, 1)
        auc = summarize(labels, p_fake, n_resamples=200)["auc"]
        assert auc.low <= auc.value <= auc.high
        widths.append(auc.high - auc.low)
    assert widths[1] < widths[0] / 2


def test_clips_of_one_group_count_once():
    rng = np.random.default_rng(1)
    labels = np.arange(20) % 2
    p_fake = np.clip(0.4 + 0.2 * labels + rng.normal(0, 0.2, 20), 0, 1)
    alone = summarize(labels, p_fake, list(range(20)), n_resamples=300)["auc"]
    copied = summarize(np.repeat(labels, 10), np.repeat(p_fake, 10), np.repeat(np.arange(20), 10), n_resamples=300)[
        "auc"
    ]
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.2)


@pytest.mark.parametrize(("labels", "p_fake"), [([1, 1], [0.1, 0.2]), ([0, 1], [0.5])])
def test_one_class_or_another_length_is_refused(labels, p_fake):
    with pytest.raises(ValueError, match="both classes"):
        summarize(labels, p_fake)


def test_knowing_the_source_alone_is_worth_nothing_within_sources():
    sources = ["studio"] * 4 + ["web"] * 4 + ["only real"]
    labels = [0, 0, 0, 1, 0, 1, 1, 1, 0]
    by_source = [0.1] * 4 + [0.9] * 4 + [0.0]
    assert within_source_auc(labels, by_source, sources) == (0.5, 6)
    assert within_source_auc(labels, labels, sources) == (1.0, 6)
    assert within_source_auc([0, 1], [0.1, 0.9], ["a", "b"])[1] == 0


def test_calibration_error_of_a_small_case():
    # Three bins of one clip each; then one of two clips, half of them fake, and one of one.
    assert expected_calibration_error([0, 1, 1], [0.25, 0.15, 0.95]) == pytest.approx((0.25 + 0.85 + 0.05) / 3)
    assert expected_calibration_error([0, 1, 1], [0.25, 0.25, 0.95]) == pytest.approx((2 * 0.25 + 0.05) / 3)
    # With the classes alike the real clip weighs 1/2 and each fake 1/4.
    assert expected_calibration_error([0, 1, 1], [0.25, 0.25, 0.95], balanced=True) == pytest.approx(
        abs(0.5 * 0.25 - 0.25 * 0.75) + 0.25 * 0.05
    )
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0.0


def test_cost_of_likelihood_ratios():
    assert log_likelihood_ratio_cost([0, 1, 1], [0.5, 0.5, 0.5]) == pytest.approx(1.0)  # says nothing
    assert log_likelihood_ratio_cost([0, 1], [0.0, 1.0]) == pytest.approx(0.0, abs=1e-9)
    # Ratios of 3 for the fake and 1/3 for the real clip: log2(1 + 1/3) each.
    assert log_likelihood_ratio_cost([0, 1], [0.25, 0.75]) == pytest.approx(np.log2(4 / 3))
    # The classes weigh alike, however many clips there are of each.
    assert log_likelihood_ratio_cost([0, 1, 1, 1], [0.25, 0.5, 0.5, 0.5]) == pytest.approx((np.log2(4 / 3) + 1) / 2)


def test_every_measure_of_a_small_case():
    metrics = summarize(LABELS, [0.1, 0.2, 0.8, 0.3, 0.7, 0.9], n_resamples=10, measures=ALL_MEASURES)
    assert tuple(metrics) == ALL_MEASURES
    assert metrics["f1"].value == pytest.approx(2 / 3)  # two of three fakes found, one false alarm
    assert metrics["ap"].value == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert metrics["log_loss"].value == pytest.approx(-np.log([0.9, 0.8, 0.2, 0.3, 0.7, 0.9]).mean())


@pytest.mark.parametrize(("rate", "n_false_alarms"), [(0.0, 0), (0.05, 0), (0.1, 1), (0.25, 2), (1.0, 10)])
def test_threshold_keeps_to_the_false_alarm_rate(rate, n_false_alarms):
    real = np.arange(10) / 10
    threshold = threshold_at(real, rate)
    assert (real >= threshold).sum() == n_false_alarms
    assert threshold <= 0.9 + 1e-9


def test_threshold_above_scores_that_are_alike():
    assert (np.array([0.5, 0.5, 0.5, 0.1]) >= threshold_at([0.5, 0.5, 0.5, 0.1], 0.5)).sum() == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold_at([0.5], 1.5)


def test_calibration_error_at_even_odds_and_by_chance():
    """P(fake) with equal priors is right for any share of fakes, and the plain ECE is not."""
    rng = np.random.default_rng(0)
    p_fake = rng.random(20_000)
    labels = (rng.random(20_000) < p_fake).astype(int)
    kept = (labels == 0) | (rng.random(20_000) < 0.2)  # four of five fakes are taken away
    labels, p_fake = labels[kept], p_fake[kept]
    assert expected_calibration_error(labels, p_fake) > 0.15
    assert expected_calibration_error(labels, p_fake, balanced=True) < 0.03
    points = reliability(labels, p_fake)
    np.testing.assert_allclose(points["observed"], points["predicted"], atol=0.05)
    assert sum(points["counts"]) == len(labels)


def test_few_clips_show_an_error_though_the_scores_are_right():
    few, many = (calibration_error_by_chance(np.arange(n) % 2, np.random.default_rng(0).random(n)) for n in (50, 5_000))
    assert few > 0.08
    assert many < 0.03
