"""Attacks stay within their budget, and mislead."""

from __future__ import annotations

import pytest
import torch

from training.evaluation.adversarial import Attack, attacks, perturb


def margin(artifact, inputs) -> float:
    logits, _ = artifact.forward(inputs)
    return float((logits[:, 1] - logits[:, 0]).mean())


@pytest.mark.parametrize("n_steps", [1, 5])
@pytest.mark.parametrize("label", [0, 1])
def test_pictures_stay_pictures_and_move_away_from_their_label(video_candidate, label, n_steps):
    artifact = video_candidate.predictor.artifact
    spec = artifact.spec
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    picture = torch.rand(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    picture[..., :8] = 0.0  # as dark as can be
    inputs = (picture - mean) / std
    changed = perturb(artifact, inputs, label, Attack(2.0, n_steps))
    pixels = changed * std + mean
    assert float((pixels - picture).abs().max()) == pytest.approx(2 / 255, abs=1e-5)
    assert float(pixels.min()) >= -1e-5
    assert float(pixels.max()) <= 1 + 1e-5
    moved = margin(artifact, changed) - margin(artifact, inputs)
    assert moved < 0 if label else moved > 0


def test_features_move_by_a_share_of_their_deviation(audio_candidate):
    artifact = audio_candidate.predictor.artifact
    inputs = 3.0 * torch.randn(2, 10, artifact.spec.n_features, generator=torch.Generator().manual_seed(0))
    weak, strong = (perturb(artifact, inputs, 1, Attack(budget, 5)) for budget in (0.1, 0.2))
    assert float((weak - inputs).abs().max()) == pytest.approx(0.1 * float(inputs.std()), rel=1e-3)
    assert margin(artifact, strong) < margin(artifact, weak) < margin(artifact, inputs)


def test_chance_moves_as_far_and_misleads_little(video_candidate):
    artifact = video_candidate.predictor.artifact
    inputs = torch.zeros(1, 4, 3, 32, 32)
    by_lot, by_gradient = (perturb(artifact, inputs, 1, Attack(2.0, n_steps)) for n_steps in (0, 1))
    torch.testing.assert_close(by_lot.abs(), by_gradient.abs())
    moved = [abs(margin(artifact, changed) - margin(artifact, inputs)) for changed in (by_lot, by_gradient)]
    assert moved[0] < 0.1 * moved[1]


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_all_attacks_have_the_same_budgets(modality):
    budgets: dict[int, list[float]] = {}
    for attack in attacks(modality, quick=True):
        budgets.setdefault(attack.n_steps, []).append(attack.budget)
    assert len(budgets) == 3
    assert len({tuple(values) for values in budgets.values()}) == 1
