"""From scores to tables: overall, by generator, by source, calibration, thresholds, robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from model_defs.calibration import Calibration
from model_defs.inference.fusion import DEFAULT_WEIGHTS
from model_defs.networks.ood import OodScale
from training.evaluation.av_pairs import PairScores, fit_weights
from training.evaluation.calibration import calibration_measures, compare_methods, crossfit
from training.evaluation.file_scores import Candidate, ClipScores, margin_logits
from training.evaluation.metrics import (
    ALL_MEASURES,
    calibration_error_by_chance,
    reliability,
    summarize,
    threshold_at,
    within_source_auc,
)
from training.evaluation.scores import Scores

FALSE_ALARM_RATES = (0.01, 0.05, 0.10)  # that thresholds are chosen for
THRESHOLD_GRID = tuple(round(0.02 * step, 2) for step in range(51))  # that a slider moves along
DIGITS = 4
TINY = 1e-9
COVERAGES = (0.5, 0.8, 0.95, 1.0)  # shares of the clips that selective accuracy is told of
CURVE_MEASURES = ("auc", "balanced_accuracy")


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Attributes:
        overall: bootstrap resamples of a split's metrics.
        breakdown: of the metrics of one system, source or level, of which there are many.
    """

    overall: int = 1_000
    breakdown: int = 200


def overall(
    labels: np.ndarray, p_fake: np.ndarray, groups: Sequence[str], threshold: float, resampling: Resampling
) -> dict:
    """Every measure with its interval, and how many clips of which class it rests on; only counts for one class."""
    counts = {"clips": len(labels), "fake": int(labels.sum()), "groups": len(set(groups))}
    if len(np.unique(labels)) < 2:
        return {"counts": counts, "measures": {}}
    found = summarize(
        labels, p_fake, groups, threshold=threshold, n_resamples=resampling.overall, measures=ALL_MEASURES
    )
    return {"counts": counts, "measures": {name: plain(asdict(one)) for name, one in found.items()}}


def breakdown(scores: ClipScores, candidate: Candidate, resampling: Resampling) -> dict:
    """By generator (its fakes against all real clips of the split) and by source (its own clips of both classes).

    A source of one class alone has no AUC; `flagged` is the share of its clips that count as fake.
    """
    labels, p_fake = scores.labels, scores.p_fake(candidate)
    threshold = candidate.calibration.threshold
    systems = np.array([clip.system if clip.label else "" for clip in scores.clips], dtype=object)
    sources = np.array([clip.source for clip in scores.clips], dtype=object)

    def row(members: np.ndarray, shown: np.ndarray) -> dict:
        metrics = {"clips": int(shown.sum()), "flagged": float((p_fake[shown] >= threshold).mean())}
        if len(np.unique(labels[members])) == 2:
            groups = [group for group, is_member in zip(scores.groups, members, strict=True) if is_member]
            auc = summarize(
                labels[members], p_fake[members], groups, n_resamples=resampling.breakdown, measures=("auc",)
            )
            metrics["auc"] = plain(asdict(auc["auc"]))
        return plain(metrics)

    within, n_pairs = within_source_auc(labels, p_fake, sources.astype(str))
    return {
        "by_system": {
            name: row((systems == name) | (labels == 0), systems == name) for name in sorted(set(systems)) if name
        },
        "by_source": {
            name: row(sources == name, sources == name) | {"fake": int(labels[sources == name].sum())}
            for name in sorted(set(sources))
            if name
        },
        "within_source": {"auc": None if np.isnan(within) else round(within, DIGITS), "pairs": n_pairs},
    }


def generators(scores: ClipScores, candidate: Candidate, known_systems: set[str], resampling: Resampling) -> dict:
    """In domain and out of it: all real clips with the fakes by generators that training knew, or by others.

    Training has met none of the people of the split. Rows without a fake are left out.
    """
    labels, p_fake = scores.labels, scores.p_fake(candidate)
    is_known = np.array([clip.system in known_systems for clip in scores.clips])
    rows = {}
    for name, chosen in (("known", is_known), ("unseen", ~is_known)):
        members = (labels == 0) | chosen
        if (labels[members] == 1).any():
            groups = [group for group, is_member in zip(scores.groups, members, strict=True) if is_member]
            threshold = candidate.calibration.threshold
            rows[name] = overall(labels[members], p_fake[members], groups, threshold, resampling)
    return rows


def selective(labels: np.ndarray, p_fake: np.ndarray, threshold: float) -> list[dict]:
    """Balanced accuracy of the most confident share of the verdicts, at each of `COVERAGES`.

    Confidence is the distance of the log-odds from the threshold's. Y. Geifman and R. El-Yaniv, "Selective
    Classification for Deep Neural Networks" (NeurIPS 2017); both classes weigh alike.
    """
    edges = np.clip([*p_fake, threshold], TINY, 1 - TINY)
    log_odds = np.log(edges / (1 - edges))
    confidence = np.abs(log_odds[:-1] - log_odds[-1])
    right = (p_fake >= threshold) == (labels == 1)
    rows = []
    for coverage in COVERAGES:
        n_kept = max(1, round(coverage * len(labels)))
        kept = np.argsort(-confidence, kind="stable")[:n_kept]
        accuracies = [right[kept][labels[kept] == label].mean() for label in (0, 1) if (labels[kept] == label).any()]
        rows.append({"coverage": coverage, "clips": n_kept, "balanced_accuracy": float(np.mean(accuracies))})
    return plain(rows)


def calibration(scores: ClipScores, candidate: Candidate) -> dict:
    """ECE and Cllr before and after the artifact's own calibration, and the points of the reliability diagram.

    `crossfit` is the same kind of calibration fitted to four fifths of these groups and measured on the fifth, in
    turns: what fitting promises for clips that it has not seen; `methods` compares the kinds so. Both are left out
    where there are too few groups. `by_chance` is the balanced ECE that exact scores would show on so few clips.
    """
    labels, logits = scores.labels, margin_logits(scores.margins[candidate.name])
    raw = Scores(logits, labels, tuple(scores.groups))
    stages = {}
    columns = {"before": Calibration().p_fake(logits), "after": candidate.calibration.p_fake(logits)}
    method = "platt" if candidate.calibration.bias else "temperature"
    if (crossfitted := crossfit(raw, method)) is not None:
        columns["crossfit"] = crossfitted
    for stage, p_fake in columns.items():
        stages[stage] = {**calibration_measures(labels, p_fake), **reliability(labels, p_fake)}
    return plain(
        {
            "temperature": candidate.calibration.temperature,
            "bias": candidate.calibration.bias,
            "method": method,
            "by_chance": calibration_error_by_chance(labels, columns["after"]),
            "methods": compare_methods(raw),
            **stages,
        }
    )


def anomaly(
    candidates: Sequence[Candidate],
    scores: Mapping[str, ClipScores],
    strange: Mapping[str, Mapping[str, np.ndarray]],
    known_systems: set[str],
) -> dict:
    """By candidate, what its anomaly score tells; empty where none has one.

    `kinds`: AUROC of media that are neither faces nor speech against all clips of the first split, and the share that
    an answer warns of. `splits`: the share of ordinary clips with a warning, by class and by whether training knew
    the generator, and the AUROC of fakes by new systems against those by known ones.

    Args:
        strange: kind -> candidate -> distances.
        known_systems: those that train holds.
    """
    found: dict[str, dict] = {}
    for one in candidates:
        scale = OodScale.from_record(one.manifest, one.variant)
        ordinary = next(iter(scores.values())).distances[one.name]
        if scale is None or np.isnan(ordinary).any():
            continue
        warned = lambda distances, scale=scale: float(np.mean([scale.warns(value) for value in distances]))  # noqa: E731
        part: dict = {"kinds": {}, "splits": {}}
        for kind, by_candidate in strange.items():
            distances = by_candidate[one.name]
            part["kinds"][kind] = {
                "files": len(distances),
                "auroc": _auroc(ordinary, distances),
                "warned": warned(distances),
            }
        for split, members in scores.items():
            distances, labels = members.distances[one.name], members.labels
            is_new = np.array([bool(clip.label) and clip.system not in known_systems for clip in members.clips])
            groups = {"real": labels == 0, "fake, known system": (labels == 1) & ~is_new, "fake, new system": is_new}
            part["splits"][split] = {
                name: {"clips": int(chosen.sum()), "warned": warned(distances[chosen])}
                for name, chosen in groups.items()
                if chosen.any()
            }
            new, known = distances[is_new], distances[(labels == 1) & ~is_new]
            if len(new) and len(known):
                part["splits"][split]["fake, new system"]["auroc"] = _auroc(known, new)
        found[one.name] = plain(part)
    return found


def _auroc(ordinary: np.ndarray, strange: np.ndarray) -> float:
    labels = np.repeat([0, 1], [len(ordinary), len(strange)])
    return float(roc_auc_score(labels, np.concatenate([ordinary, strange])))


def thresholds(real_of_val: np.ndarray, by_split: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[dict]:
    """For each stated false-alarm rate the threshold that val's real clips give, and what each split does at it.

    Args:
        real_of_val: P(fake) of the real clips that the threshold is chosen on.
        by_split: split -> labels and P(fake).
    """
    rows = []
    for rate in FALSE_ALARM_RATES:
        threshold = threshold_at(real_of_val, rate)
        row = {"false_alarm_rate": rate, "threshold": threshold, "real_clips": len(real_of_val), "splits": {}}
        for split, (labels, p_fake) in by_split.items():
            flagged = p_fake >= threshold
            row["splits"][split] = {"fpr": flagged[labels == 0].mean(), "tpr": flagged[labels == 1].mean()}
        rows.append(plain(row))
    return rows


def fusion(scores: PairScores) -> dict:
    """The weights that fit these pairs best beside the configured ones, with the cost of each in nats."""
    candidates = {"configured": dict(DEFAULT_WEIGHTS), "fitted": fit_weights(scores)}
    return {
        name: {"weights": weights}
        | {
            measure: round(one.value, DIGITS)
            for measure, one in summarize(
                scores.labels, scores.fused(weights), n_resamples=0, measures=("log_loss", "auc", "balanced_accuracy")
            ).items()
        }
        for name, weights in candidates.items()
    }


def curve_point(scores: ClipScores, candidate: Candidate, resampling: Resampling) -> dict:
    """AUC and balanced accuracy of one level of damage, with intervals; empty where one class is gone."""
    if len(np.unique(scores.labels)) < 2:
        return {"clips": len(scores.clips)}
    found = summarize(
        scores.labels,
        scores.p_fake(candidate),
        scores.groups,
        threshold=candidate.calibration.threshold,
        n_resamples=resampling.breakdown,
        measures=CURVE_MEASURES,
    )
    return {"clips": len(scores.clips), **{name: plain(asdict(one)) for name, one in found.items()}}


def roc(labels: np.ndarray, p_fake: np.ndarray) -> dict:
    """The points of the ROC."""
    fpr, tpr, _ = roc_curve(labels, p_fake)
    return plain({"fpr": fpr.tolist(), "tpr": tpr.tolist()})


def curves(labels: np.ndarray, p_fake: np.ndarray) -> dict:
    """What a threshold and a probability are worth: TPR and FPR along a grid of thresholds; reliability.

    At a threshold, clips with P(fake) equal to it count as fake, as in an answer.
    """
    flagged = p_fake[:, None] >= np.array(THRESHOLD_GRID) - 1e-9
    rates = {"tpr": flagged[labels == 1].mean(0).tolist(), "fpr": flagged[labels == 0].mean(0).tolist()}
    return {
        "operating_points": plain({"thresholds": list(THRESHOLD_GRID), **rates}),
        "reliability": plain(reliability(labels, p_fake)),
    }


def plain(value):
    """The same as JSON values, rounded."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else round(float(value), DIGITS)
    return value
