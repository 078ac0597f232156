"""From margins to probabilities: three ways, compared on clips that none of them was fitted to.

    temperature  one number divides the margin; the verdict with equal priors stays the network's
    platt        a bias besides: J. Platt, "Probabilistic outputs for support vector machines" (1999)
    isotonic     any rising function: B. Zadrozny, C. Elkan, "Transforming classifier scores ..." (2002)

All are fitted with both classes weighing alike, so p_fake is P(fake) with equal priors, however many fakes the clips
hold; who expects another share of fakes adds its log-odds. Isotonic steps are measured beside the others and not
served: they tie clips that the network tells apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from model_defs.calibration import Calibration
from training.evaluation.metrics import expected_calibration_error, log_likelihood_ratio_cost, threshold_at
from training.evaluation.scores import Scores

N_FOLDS = 5
MIN_APART = 1e-3  # of the mean margins of both classes, below which the fit cannot tell them from equal ones
DIGITS = 4  # of a number in the record
SERVED = ("temperature", "platt")
METHODS = (*SERVED, "isotonic")

PFake = Callable[[np.ndarray], np.ndarray]  # of logits (n, 2) -> (n,)


class NoBetterThanChanceError(ValueError):
    """The scores do not rise with the label on the validation clips, or too little to be calibrated."""


def fit_calibration(scores: Scores, false_alarm_rate: float | None = None) -> Calibration:
    """The served method with the lower cross-fitted Cllr; Platt's where there are too few clips to tell.

    Args:
        scores: of the validation clips.
        false_alarm_rate: the threshold lets no larger share of their real clips count as fake; None: equal priors.

    Raises:
        NoBetterThanChanceError: the margin does not rise with the label.
    """
    platt = _fit_logistic(scores, bias=True)  # first: it raises where no method has anything to work with
    found = compare_methods(scores)
    takes_bias = not found or found["platt"]["cllr"] < found["temperature"]["cllr"]
    fitted = platt if takes_bias else _fit_logistic(scores, bias=False)
    if false_alarm_rate is None:
        return fitted
    threshold = threshold_at(fitted.p_fake(scores.logits[scores.labels == 0]), false_alarm_rate)
    upwards = math.ceil(threshold * 10**DIGITS) / 10**DIGITS  # down might let one more of them through
    return replace(fitted, threshold=min(upwards, 1.0))


def compare_methods(scores: Scores) -> dict[str, dict[str, float]]:
    """Method -> `ece`, `ece_balanced` and `cllr`, cross-fitted; empty where there are too few groups for that."""
    found = {}
    for method in METHODS:
        p_fake = crossfit(scores, method)
        if p_fake is None:
            return {}
        found[method] = calibration_measures(scores.labels, p_fake)
    return found


def calibration_measures(labels: np.ndarray, p_fake: np.ndarray) -> dict[str, float]:
    """ECE as the clips are, ECE with both classes weighing alike, and Cllr in bits."""
    return {
        "ece": expected_calibration_error(labels, p_fake),
        "ece_balanced": expected_calibration_error(labels, p_fake, balanced=True),
        "cllr": log_likelihood_ratio_cost(labels, p_fake),
    }


def crossfit(scores: Scores, method: str) -> np.ndarray | None:
    """P(fake) (n,) of each clip by a calibration that was fitted to the other groups; None where that cannot be."""
    labels, p_fake = scores.labels, np.empty(len(scores.labels))
    if np.bincount(labels, minlength=2).min() < N_FOLDS or len(set(scores.groups)) < 2 * N_FOLDS:
        return None
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    for fitted_on, left_out in folds.split(scores.logits, labels, scores.groups):
        try:
            fitted = _fit(method, Scores(scores.logits[fitted_on], labels[fitted_on], ()))
        except ValueError:  # one class alone, or scores that do not rise with the label
            return None
        p_fake[left_out] = fitted(scores.logits[left_out])
    return p_fake


def _fit(method: str, scores: Scores) -> PFake:
    if method == "isotonic":
        return _fit_isotonic(scores)
    return _fit_logistic(scores, bias=method == "platt").p_fake


def _fit_logistic(scores: Scores, *, bias: bool) -> Calibration:
    model = LogisticRegression(C=10.0, class_weight="balanced", fit_intercept=bias)
    margins = _margin(scores.logits)
    model.fit(margins[:, None], scores.labels)
    slope, intercept = float(model.coef_[0, 0]), float(np.ravel(model.intercept_)[0])
    if slope <= 0:
        apart = float(margins[scores.labels == 1].mean() - margins[scores.labels == 0].mean())
        if 0 < apart < MIN_APART:
            raise NoBetterThanChanceError(
                f"the network gives all validation clips nearly the same answer: margins of real and fake ones are "
                f"{apart:.2g} apart on average, in the right order but too near to calibrate; train for longer"
            )
        raise NoBetterThanChanceError(
            "the network is no better than chance on the validation clips; there is nothing to publish"
        )
    return Calibration(temperature=round(1 / slope, DIGITS), bias=round(intercept, DIGITS))


def _fit_isotonic(scores: Scores) -> PFake:
    counts = np.bincount(scores.labels, minlength=2)
    bound = 1 / (len(scores.labels) + 2)  # a certainty that so few clips cannot give
    model = IsotonicRegression(y_min=bound, y_max=1 - bound, out_of_bounds="clip")
    model.fit(_margin(scores.logits), scores.labels, sample_weight=1 / counts[scores.labels])
    return lambda logits: model.predict(_margin(logits))


def _margin(logits: Sequence) -> np.ndarray:
    logits = np.asarray(logits, dtype=float)
    return logits[:, 1] - logits[:, 0]
