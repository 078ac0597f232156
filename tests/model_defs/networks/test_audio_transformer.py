"""The transformer over spectra: what it gives, what it leaves out, and that it can be scripted."""

from __future__ import annotations

import pytest
import torch

from model_defs.networks.audio_transformer import SpectrumTransformerNet, heard_steps

N_FEATURES = 322


@pytest.fixture(scope="module")
def net() -> SpectrumTransformerNet:
    torch.manual_seed(0)
    return SpectrumTransformerNet(n_channels=(4, 4, 8, 8, 8, 8), n_model=16, n_heads=2, n_layers=2).eval()


@pytest.mark.parametrize("n_steps", [2, 5, 31, 401])
def test_any_window_gives_finite_logits_and_attention_that_sums_to_one(net, n_steps):
    for features in (torch.randn(2, n_steps, N_FEATURES), torch.zeros(2, n_steps, N_FEATURES)):
        with torch.inference_mode():
            logits, attention = net(features)
        assert logits.shape == (2, 2)
        assert torch.isfinite(logits).all()
        assert attention.shape == (2, n_steps)
        torch.testing.assert_close(attention.sum(1), torch.ones(2))


def test_digital_silence_counts_for_nothing(net):
    features = torch.randn(1, 60, N_FEATURES)
    features[:, 20:40] = 0
    heard = heard_steps(features)
    assert heard[0].tolist() == [1.0] * 10 + [0.0] * 10 + [1.0] * 10
    with torch.inference_mode():
        maps = net.local_steps(features)
        found = net.of_maps(maps, heard)
        changed = net.embed(maps)
        assert net(features)[1][0, 22:38].max() < 1e-3
    expected = changed[:, heard[0] > 0].mean(1)
    torch.testing.assert_close(found[:, :16], expected, atol=1e-4, rtol=1e-4)


def test_scripted_and_frozen_it_gives_the_same(net):
    scripted = torch.jit.freeze(torch.jit.script(net))
    features = torch.randn(2, 41, N_FEATURES)
    with torch.inference_mode():
        for found, expected in zip(scripted(features), net(features), strict=True):
            torch.testing.assert_close(found, expected)


def test_training_leaves_the_standardization_alone(net):
    trained = SpectrumTransformerNet(n_channels=(4, 4, 8, 8, 8, 8), n_model=16, n_heads=2, n_layers=2).train()
    before = trained.standardize.running_mean.clone()
    trained(torch.randn(3, 21, N_FEATURES))
    torch.testing.assert_close(trained.standardize.running_mean, before)
    statistics = torch.randn(1, trained.n_statistics)
    assert not torch.equal(trained.judge(statistics), trained.judge(statistics))  # dropout is on
