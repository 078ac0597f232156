"""A kernel machine with a teacher: what is solved, and that both heard the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from model_defs.networks.audio_svm import StatisticsNet
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.spec import AudioSpec
from training.compress.closed_form import fit_taught, taught_examples
from training.data.datasets import load_dataset, select
from training.data.prepared import prepare
from training.fit_audio import Examples, KernelFit, collect
from training.loop.checkpoint import RunError

LIGHT = NETWORKS["moments_rbf_svm_light"].spec
BANDS = replace(NETWORKS["bands_cnn_gru"].spec, hop_length=1024)


def tiny(n_support_vectors: int) -> StatisticsNet:
    return StatisticsNet(
        n_features=20, n_cepstra=12, lags=(1, 2), band_lags=(1,), n_axes=12, n_support_vectors=n_support_vectors
    ).eval()


def examples(n: int, n_statistics: int) -> tuple[Examples, np.ndarray]:
    """Statistics with labels that they do not tell, and answers that they do."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((n, 3))
    found = hidden @ rng.standard_normal((3, n_statistics)) + 0.1 * rng.standard_normal((n, n_statistics))
    labels, weights = rng.integers(2, size=n), rng.uniform(0.5, 1.5, n)
    answers = np.sin(2 * hidden[:, 0]) + 0.4
    return Examples(torch.from_numpy(found).float(), labels, weights, np.arange(n)), answers


def points_and_margins(net: StatisticsNet, known: Examples) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        points = net.projection(net.standardized(known.statistics))
        logits = net.classifier(points)
    return points.numpy(), ((logits[:, 1] - logits[:, 0]) / 2).numpy()


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
def test_where_every_example_is_a_centre_it_is_kernel_ridge_regression(weight):
    net = tiny(200)
    known, answers = examples(120, net.statistics.n_statistics)
    fit_taught(net, known, answers, KernelFit(gamma=0.5, c=4.0), weight)
    points, found = points_and_margins(net, known)
    targets = weight * answers + (1 - weight) * (2.0 * known.labels - 1)
    bias = np.average(targets, weights=known.weights)
    ridge = KernelRidge(alpha=1 / 4.0, kernel="rbf", gamma=1.0)
    ridge.fit(points, targets - bias, sample_weight=known.weights / known.weights.mean())
    np.testing.assert_allclose(found, ridge.predict(points) + bias, atol=2e-3)


def test_fewer_centres_come_near_the_answers():
    net = tiny(60)
    known, answers = examples(400, net.statistics.n_statistics)
    fit_taught(net, known, answers, KernelFit(gamma=0.5), 1.0)
    _, found = points_and_margins(net, known)
    before = np.mean((answers - np.average(answers, weights=known.weights)) ** 2)
    assert np.mean((found - answers) ** 2) < 0.6 * before


def test_both_hear_the_same_windows(audio_dataset, tmp_path):
    torch.manual_seed(0)
    teacher, net = build_network("bands_cnn_gru").eval(), build_network("moments_rbf_svm_light").eval()
    train = prepare(select(load_dataset(audio_dataset), "train"), BANDS, tmp_path, show_progress=False)[:4]
    how = KernelFit(n_damaged=1, vocoded_share=0.0)
    heard, answers = taught_examples(teacher, BANDS, net, LIGHT, train, how)
    alone = collect(net.statistics, train, LIGHT, how)
    torch.testing.assert_close(heard.statistics, alone.statistics)
    np.testing.assert_array_equal(heard.labels, alone.labels)
    logits = collect(lambda features: teacher(features)[0], train, BANDS, how).statistics
    np.testing.assert_allclose(answers, (logits[:, 1] - logits[:, 0]) / 2, atol=1e-5)


def test_other_sound_is_refused():
    net = build_network("moments_rbf_svm_light").eval()
    with pytest.raises(RunError, match=r"window_s 2\.0, not 4\.0"):
        taught_examples(net, AudioSpec(), net, replace(LIGHT, window_s=2.0), [], KernelFit())
