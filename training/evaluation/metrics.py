"""What a set of scores is worth, with intervals that respect the groups.

Scores are P(fake) and labels 1 for fake. The measures are scikit-learn's where it has
them; the equal error rate, ECE, Cllr and the grouped bootstrap are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn import config_context
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
    roc_curve,
)

MEASURES = ("auc", "eer", "balanced_accuracy", "accuracy")  # what a training run and a model card show
ALL_MEASURES = (*MEASURES, "ap", "f1", "log_loss", "ece", "ece_balanced", "cllr")
N_BINS = 10  # of the expected calibration error
_TINY = 1e-12  # keeps a certain and wrong score from costing infinity


@dataclass(frozen=True)
class Estimate:
    """A figure and the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def equal_error_rate(labels: Sequence[int], p_fake: Sequence[float]) -> float:
    """The rate at which FNR equals FPR, 0 to 1, read off the ROC polyline.

    The crossing is interpolated linearly between the two neighbouring thresholds.
    """
    fpr, tpr, _ = roc_curve(labels, p_fake, drop_intermediate=False)
    gap = (1.0 - tpr) - fpr  # FNR less FPR: falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    before = max(after - 1, 0)
    step = gap[before] - gap[after]
    share = gap[before] / step if step > 0 else 0.0
    return float(fpr[before] + share * (fpr[after] - fpr[before]))


def expected_calibration_error(
    labels: Sequence[int], p_fake: Sequence[float], *, n_bins: int = N_BINS, balanced: bool = False
) -> float:
    """Mean gap between P(fake) and the share of fakes, over bins of equal width weighted by their clips, 0 to 1.

    M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (2015).
    With few clips it is too high even for perfect scores: a bin's share of fakes scatters.

    Args:
        n_bins: of equal width over 0..1.
        balanced: let both classes weigh alike, as a calibration to equal priors supposes.
    """
    labels, p_fake = np.asarray(labels, dtype=int), np.asarray(p_fake, dtype=float)
    weights = _class_weights(labels) if balanced else np.ones(len(labels))
    gaps = np.bincount(_bins(p_fake, n_bins), weights * (p_fake - labels), n_bins)
    return float(np.abs(gaps).sum() / weights.sum())


def reliability(labels: Sequence[int], p_fake: Sequence[float], *, n_bins: int = N_BINS) -> dict[str, list[float]]:
    """The points of a reliability diagram with equal priors: of each bin that is not empty, `predicted` (mean P(fake)),
    `observed` (share of fakes), both with the classes weighing alike, and `counts` (clips)."""
    labels, p_fake = np.asarray(labels, dtype=int), np.asarray(p_fake, dtype=float)
    weights, bins = _class_weights(labels), _bins(p_fake, n_bins)
    mass = np.bincount(bins, weights, n_bins)
    shown = mass > 0
    return {
        "predicted": (np.bincount(bins, weights * p_fake, n_bins)[shown] / mass[shown]).tolist(),
        "observed": (np.bincount(bins, weights * labels, n_bins)[shown] / mass[shown]).tolist(),
        "counts": np.bincount(bins, minlength=n_bins)[shown].tolist(),
    }


def _class_weights(labels: np.ndarray) -> np.ndarray:
    return 1.0 / np.bincount(labels, minlength=2)[labels]


def _bins(p_fake: np.ndarray, n_bins: int) -> np.ndarray:
    return np.clip((p_fake * n_bins).astype(int), 0, n_bins - 1)


def calibration_error_by_chance(labels: Sequence[int], p_fake: Sequence[float], *, n_draws: int = 500) -> float:
    """The balanced ECE that scores like these show on so few clips where they are exactly right, on average.

    Args:
        labels: for the share of fakes among the clips.
        p_fake: P(fake) with equal priors, (n,). Labels are drawn by it, the share of fakes taken into account.
        n_draws: of all labels; the same scores give the same figure.
    """
    labels, p_fake = np.asarray(labels, dtype=int), np.clip(np.asarray(p_fake, dtype=float), _TINY, 1 - _TINY)
    n_fake = int(labels.sum())
    odds = p_fake / (1 - p_fake) * n_fake / (len(labels) - n_fake)
    drawn = np.random.default_rng(0).random((n_draws, len(labels))) < odds / (1 + odds)
    usable = [row.astype(int) for row in drawn if 0 < row.sum() < len(row)]
    return float(np.mean([expected_calibration_error(row, p_fake, balanced=True) for row in usable]))


def log_likelihood_ratio_cost(labels: Sequence[int], p_fake: Sequence[float]) -> float:
    """Cllr in bits: 0 for scores that are sure and right, 1 for ones that say nothing, more for misleading ones.

    P(fake) is taken with equal priors, so that p / (1 - p) is the likelihood ratio; the classes weigh alike.
    N. Bruemmer, J. du Preez, "Application-independent evaluation of speaker detection" (2006), equation 21.
    """
    labels, p_fake = np.asarray(labels, dtype=int), np.clip(np.asarray(p_fake, dtype=float), _TINY, 1 - _TINY)
    bits = -np.log2(np.where(labels == 1, p_fake, 1.0 - p_fake))  # log2(1 + 1/LR) of a fake, log2(1 + LR) of a real
    return float((bits[labels == 1].mean() + bits[labels == 0].mean()) / 2)


def threshold_at(real_p_fake: Sequence[float], false_alarm_rate: float) -> float:
    """The lowest threshold at which no more than that share of the real clips counts as fake; may lie above 1.

    Raises:
        ValueError: there is no real clip, or the rate is not in 0..1.
    """
    scores = np.sort(np.asarray(real_p_fake, dtype=float))[::-1]
    if not len(scores) or not 0 <= false_alarm_rate <= 1:
        raise ValueError(f"a threshold needs real clips and a rate between 0 and 1, not {false_alarm_rate}")
    n_allowed = int(false_alarm_rate * len(scores) + 1e-9)
    return 0.0 if n_allowed == len(scores) else float(np.nextafter(scores[n_allowed], np.inf))


def within_source_auc(labels: Sequence[int], p_fake: Sequence[float], sources: Sequence[str]) -> tuple[float, int]:
    """ROC-AUC among clips of the same source, the mean over sources by their number of pairs' square root.

    Where sources differ in class, an ordinary AUC rewards knowing the source; this one does not.

    Returns:
        The mean (nan where no source shows both classes) and the number of pairs of a real and a fake clip.
    """
    labels, p_fake, sources = np.asarray(labels), np.asarray(p_fake), np.asarray(sources)
    aucs, n_pairs = [], []
    for source in np.unique(sources):
        members = sources == source
        n_fake = int(labels[members].sum())
        if 0 < n_fake < members.sum():
            aucs.append(roc_auc_score(labels[members], p_fake[members]))
            n_pairs.append(n_fake * int(members.sum() - n_fake))
    if not aucs:
        return float("nan"), 0
    return float(np.average(aucs, weights=np.sqrt(n_pairs))), sum(n_pairs)


def summarize(
    labels: Sequence[int],
    p_fake: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    threshold: float = 0.5,
    n_resamples: int = 1_000,
    seed: int = 0,
    measures: Sequence[str] = MEASURES,
) -> dict[str, Estimate]:
    """AUC, EER, balanced accuracy, accuracy and others, each with a 95 % interval.

    Whole groups are resampled with replacement (the percentile bootstrap over
    clusters: Field and Welsh 2007), because the clips of one person or one
    piece of footage are not independent. Resamples of one class alone are left out.

    Args:
        labels: 1 for fake, (n,).
        p_fake: scores, (n,).
        groups: source group of each clip, (n,); None lets each clip stand alone.
        threshold: score from which a clip counts as fake, for the accuracies.
        n_resamples: bootstrap resamples; 0 leaves the bounds at the value.
        seed: of the resampling.
        measures: which of ALL_MEASURES, in the order of the result.

    Raises:
        ValueError: only one class is there, or the lengths differ.
    """
    labels = np.asarray(labels, dtype=int)
    p_fake = np.asarray(p_fake, dtype=float)
    if labels.shape != p_fake.shape or len(np.unique(labels)) != 2:
        raise ValueError("metrics need one score for each label, and both classes")
    clip_groups = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    members = [np.flatnonzero(clip_groups == group) for group in np.unique(clip_groups)]
    rng = np.random.default_rng(seed)
    chosen = {name: measure for name, measure in _measures(threshold).items() if name in measures}
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    with config_context(assume_finite=True, skip_parameter_validation=True):  # checked above, not a thousand times
        for _ in range(n_resamples):
            picked = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
            if len(np.unique(labels[picked])) == 2:
                for name in measures:
                    drawn[name].append(chosen[name](labels[picked], p_fake[picked]))
    return {name: _estimate(chosen[name](labels, p_fake), drawn[name]) for name in measures}


def _measures(threshold: float) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    return {
        "auc": lambda labels, p_fake: float(roc_auc_score(labels, p_fake)),
        "eer": equal_error_rate,
        "balanced_accuracy": lambda labels, p_fake: float(balanced_accuracy_score(labels, p_fake >= threshold)),
        "accuracy": lambda labels, p_fake: float(accuracy_score(labels, p_fake >= threshold)),
        "ap": lambda labels, p_fake: float(average_precision_score(labels, p_fake)),
        "f1": lambda labels, p_fake: float(f1_score(labels, p_fake >= threshold, zero_division=0.0)),
        "log_loss": lambda labels, p_fake: float(log_loss(labels, np.clip(p_fake, _TINY, 1 - _TINY), labels=[0, 1])),
        "ece": expected_calibration_error,
        "ece_balanced": partial(expected_calibration_error, balanced=True),
        "cllr": log_likelihood_ratio_cost,
    }


def _estimate(value: float, drawn: list[float]) -> Estimate:
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (value, value)
    return Estimate(value=value, low=float(low), high=float(high))
