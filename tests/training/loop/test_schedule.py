"""The rate rises, then falls; the best epoch is found; a run that gets no better ends."""

from __future__ import annotations

import pytest

from training.loop.schedule import best_epoch, cosine_rate, is_over, plateau_rate


def epochs(*aucs: float, loss: float = 1.0) -> list[dict]:
    return [{"epoch": number, "val_auc": auc, "val_loss": loss} for number, auc in enumerate(aucs, start=1)]


def test_cosine_by_hand():
    assert cosine_rate(0.0, 0.1) == pytest.approx(0.001 / 0.101)
    assert cosine_rate(0.1, 0.1) == pytest.approx(1.0)
    assert cosine_rate(0.55, 0.1) == pytest.approx(0.5)
    assert cosine_rate(1.0, 0.1) == pytest.approx(0.0)
    assert cosine_rate(0.0, 0.0) == 1.0


def test_plateau_halves_after_each_wait():
    def rate(*aucs: float) -> float:
        return plateau_rate(0.5, 0.1, epochs(*aucs), patience=2, factor=0.5)

    assert rate() == rate(0.6, 0.5) == rate(0.6, 0.7, 0.6) == 1.0
    assert rate(0.6, 0.5, 0.5) == rate(0.6, 0.5, 0.5, 0.7) == rate(0.6, 0.5, 0.5, 0.7, 0.6) == 0.5
    assert rate(0.6, 0.5, 0.5, 0.5, 0.5) == rate(0.6, 0.5, 0.5, 0.7, 0.6, 0.6) == 0.25
    assert plateau_rate(0.05, 0.1, [], 2, 0.5) == pytest.approx(0.051 / 0.101)


def test_run_ends_after_its_patience():
    assert not is_over(epochs(0.6, 0.5, 0.5), patience=0)
    assert not is_over([], patience=1)
    assert not is_over(epochs(0.6, 0.5, 0.7, 0.6), patience=2)
    assert is_over(epochs(0.6, 0.5, 0.7, 0.6, 0.7), patience=2)


def test_best_epoch_is_the_first_of_equals_and_the_surest():
    assert best_epoch([]) is None
    assert best_epoch(epochs(0.5, 0.9, 0.9))["epoch"] == 2
    assert best_epoch([*epochs(0.9), {"epoch": 2, "val_auc": 0.9, "val_loss": 0.5}])["epoch"] == 2
