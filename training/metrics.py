"""What a set of scores is worth, with intervals that respect the groups.

Scores are P(fake) and labels 1 for fake. The measures are scikit-learn's; only
the equal error rate and the grouped bootstrap are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score, roc_curve


@dataclass(frozen=True)
class Estimate:
    """A figure and the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def equal_error_rate(labels: Sequence[int], p_fake: Sequence[float]) -> float:
    """The rate at which misses equal false alarms, 0 to 1, read off the ROC polyline.

    The crossing is interpolated linearly between the two neighbouring thresholds.
    """
    false_alarms, hits, _ = roc_curve(labels, p_fake, drop_intermediate=False)
    gap = (1.0 - hits) - false_alarms  # misses minus false alarms: falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    before = max(after - 1, 0)
    step = gap[before] - gap[after]
    share = gap[before] / step if step > 0 else 0.0
    return float(false_alarms[before] + share * (false_alarms[after] - false_alarms[before]))


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
) -> dict[str, Estimate]:
    """AUC, EER, balanced accuracy and accuracy, each with a 95 % interval.

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
    measures = _measures(threshold)
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(n_resamples):
        picked = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if len(np.unique(labels[picked])) == 2:
            for name, measure in measures.items():
                drawn[name].append(measure(labels[picked], p_fake[picked]))
    return {name: _estimate(measure(labels, p_fake), drawn[name]) for name, measure in measures.items()}


def _measures(threshold: float) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    return {
        "auc": lambda labels, p_fake: float(roc_auc_score(labels, p_fake)),
        "eer": equal_error_rate,
        "balanced_accuracy": lambda labels, p_fake: float(balanced_accuracy_score(labels, p_fake >= threshold)),
        "accuracy": lambda labels, p_fake: float(accuracy_score(labels, p_fake >= threshold)),
    }


def _estimate(value: float, drawn: list[float]) -> Estimate:
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (value, value)
    return Estimate(value=value, low=float(low), high=float(high))
