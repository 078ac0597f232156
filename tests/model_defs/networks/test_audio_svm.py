"""Moments over time are what they are said to be, and the kernel machine is the network that it looks like."""

from __future__ import annotations

import pytest
import torch
from scipy.fft import dct
from scipy.stats import kurtosis

from model_defs.networks.audio_svm import FeatureStatistics, KernelMachine, StatisticsNet
from model_defs.networks.registry import NETWORKS, build_network


@pytest.fixture
def bands() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 120, 20).cumsum(1) / 10


def test_first_statistics_are_log_deviations_of_the_bands(bands):
    found = FeatureStatistics(20, 12)(bands)
    torch.testing.assert_close(found[:, :20], (bands.std(1, correction=0) + 0.01).log())


def test_deviations_of_cepstra_are_those_of_an_orthonormal_cosine_transform(bands):
    found = FeatureStatistics(20, 12)(bands)
    cepstra = torch.from_numpy(dct(bands.numpy(), axis=2, norm="ortho"))[:, :, :12]
    first = 20 + 20 + 19  # after the bands, their slopes, and their differences from one to the next
    torch.testing.assert_close(found[:, first : first + 12], (cepstra.std(1, correction=0) + 0.01).log())


def test_kurtosis_is_scipys_where_bands_vary_enough(bands):
    found = FeatureStatistics(20, 12)(100 * bands)
    first = 20 + 20 + 19 + 3 * 12 + 20  # after the deviations and the bands' skewness
    expected = torch.from_numpy(kurtosis(bands.numpy(), axis=1, fisher=False)).log()
    torch.testing.assert_close(found[:, first : first + 20], expected, atol=1e-2, rtol=1e-2)


def test_statistics_do_not_know_the_mean_of_a_band(bands):
    statistics = FeatureStatistics(20, 12)
    torch.testing.assert_close(statistics(bands), statistics(bands + torch.randn(20)), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("n_steps", [4, 5, 17, 251])
def test_any_window_gives_finite_statistics_and_attention_that_sums_to_one(n_steps):
    net = StatisticsNet(n_features=20, n_cepstra=12, n_axes=8, n_support_vectors=16).eval()
    for bands in (torch.randn(2, n_steps, 20), torch.zeros(2, n_steps, 20)):
        with torch.inference_mode():
            logits, attention = net(bands)
        assert torch.isfinite(logits).all()
        assert attention.shape == (2, n_steps)
        torch.testing.assert_close(attention.sum(1), torch.ones(2))


def test_attention_is_where_the_sound_departs_from_its_mean():
    bands = torch.zeros(1, 50, 20)
    bands[:, 10] = 3.0
    net = StatisticsNet(n_features=20, n_cepstra=12, n_axes=8, n_support_vectors=16).eval()
    assert net(bands)[1].argmax() == 10


def test_nearness_falls_with_the_squared_distance():
    kernel = KernelMachine(4, 3)
    points = torch.randn(5, 4)
    expected = torch.exp(-torch.cdist(points, kernel.support_vectors).square())
    torch.testing.assert_close(kernel.kernel(points), expected, atol=1e-5, rtol=1e-4)


def test_a_gradient_reaches_the_input():
    """Attacks and saliency need it."""
    spec = NETWORKS["moments_rbf_svm"].spec
    features = torch.randn(1, spec.n_steps, spec.n_features, requires_grad=True)
    logits, _ = build_network("moments_rbf_svm").eval()(features)
    (logits[0, 1] - logits[0, 0]).backward()
    assert torch.isfinite(features.grad).all()
    assert features.grad.abs().sum() > 0


def test_training_further_leaves_the_standardization_alone():
    net = StatisticsNet(n_features=20, n_cepstra=12, n_axes=8, n_support_vectors=16).train()
    before = net.standardize.running_mean.clone()
    net(torch.randn(4, 60, 20))
    torch.testing.assert_close(net.standardize.running_mean, before)
