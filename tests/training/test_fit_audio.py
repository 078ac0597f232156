"""The script on tiny clips: the network that it leaves is the machine that was solved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from model_defs.networks.audio_svm import StatisticsNet
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import load_weights
from training.data.datasets import load_dataset, select
from training.data.prepared import prepare
from training.evaluation.scores import score_clips
from training.fit_audio import Examples, KernelFit, collect, fit_network, main
from training.loop.checkpoint import RunError

SPEC = NETWORKS["moments_rbf_svm"].spec
pytestmark = pytest.mark.usefixtures("few_resamples")


def examples(n: int, n_statistics: int, weights: np.ndarray | None = None) -> Examples:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    found = rng.standard_normal((n, n_statistics)) + 0.7 * labels[:, None]
    weights = np.ones(n) if weights is None else weights
    return Examples(torch.from_numpy(found).float(), labels, weights, np.arange(n))


def margins(net: StatisticsNet, statistics: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        logits = net.judge(statistics)
    return (logits[:, 1] - logits[:, 0]).numpy()


def test_the_network_gives_the_machines_margins():
    net = StatisticsNet(n_features=20, n_cepstra=12, n_axes=300, n_support_vectors=64).eval()
    known = examples(60, net.statistics.n_statistics)
    fit_network(net, known, KernelFit(gamma=1.0))
    statistics = known.statistics
    points = ((statistics - statistics.mean(0)) / (statistics.var(0) + 1e-6).sqrt()).clamp(-5, 5).numpy()
    machine = SVC(gamma=1 / points.shape[1]).fit(points, known.labels)
    np.testing.assert_allclose(margins(net, statistics), 2 * machine.decision_function(points), atol=2e-3)


def test_more_examples_than_centres_are_thinned_out():
    net = StatisticsNet(n_features=20, n_cepstra=12, n_axes=8, n_support_vectors=40).eval()
    known = examples(200, net.statistics.n_statistics)
    fit_network(net, known, KernelFit())
    right = (margins(net, known.statistics) > 0) == (known.labels == 1)
    assert right.mean() > 0.9


def test_examples_hold_every_clip_its_damaged_copies_and_the_vocoded(audio_dataset, tmp_path):
    net = build_network("moments_rbf_svm").eval()
    train = prepare(select(load_dataset(audio_dataset), "train"), SPEC, tmp_path, show_progress=False)
    n_real = sum(item.clip.label == 0 for item in train)
    how = KernelFit(n_damaged=1, vocoded_share=0.25)
    found = collect(net.statistics, train, SPEC, how)
    assert len(found.labels) == 2 * (len(train) + n_real)
    assert found.weights[found.labels == 0].sum() == pytest.approx(1)
    assert found.weights[found.labels == 1].sum() == pytest.approx(1)
    assert found.weights[-2 * n_real :].sum() == pytest.approx(0.25)
    again = collect(net.statistics, train, SPEC, how)
    assert torch.equal(found.statistics, again.statistics)
    one = found.of([0])
    assert len(one.labels) == (4 if train[0].clip.label == 0 else 2)
    assert one.weights[one.labels == train[0].clip.label].sum() == pytest.approx(1)


def test_script_learns_its_clips_and_leaves_what_training_leaves(audio_dataset, tmp_path, capsys):
    path = tmp_path / "model.pt"
    common = ("--dataset", str(audio_dataset), "--cache", str(tmp_path / "cache"), "--workers", "0")
    assert main(["--config", "audio", *common, "--save-path", str(path)]) == path
    net, record = load_weights(path)
    assert record["network"] == "moments_rbf_svm"
    assert len(json.loads(path.with_suffix(".history.json").read_text())) == 1
    assert (path.with_suffix(".exported") / "artifact" / "manifest.json").is_file()
    train = prepare(select(load_dataset(audio_dataset), "train"), SPEC, tmp_path / "cache", show_progress=False)
    scores = score_clips(net, train, SPEC)
    assert ((scores.p_fake >= 0.5) == scores.labels).all()


def test_a_gpu_is_refused(audio_dataset, tmp_path):
    with pytest.raises(RunError, match="allowed: cpu"):
        main(["--dataset", str(audio_dataset), "--save-path", str(tmp_path / "model.pt"), "--device", "cuda"])
