from __future__ import annotations

import numpy as np
import pytest
import torch

from model_defs.networks.ood import (
    WARN_PERCENTILE,
    ClassifierWithDistance,
    MahalanobisDistance,
    OodScale,
    ood_warnings,
    with_distance,
)
from model_defs.networks.registry import NETWORKS, build_network
from training.exporting.variants import check_inputs, script

SCALE = OodScale(tuple(np.linspace(10.0, 20.0, 101)))


def test_distance_is_mahalanobis_from_the_nearer_class() -> None:
    # Variance 4 along the first axis, 1 across it: the first axis counts 1 - 1/4 too much under a precision of 1.
    directions = torch.tensor([[np.sqrt(0.75), 0.0, 0.0]])
    distance = MahalanobisDistance(torch.tensor([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]), directions, precision=1.0)
    points = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 4.0], [14.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    torch.testing.assert_close(distance(points), torch.tensor([0.0, 1.0, 5.0, 2.0, 2.5]))


def test_distance_sends_no_gradient_back() -> None:
    distance = MahalanobisDistance(torch.zeros(2, 3), torch.zeros(1, 3), 1.0)
    classifier = ClassifierWithDistance(torch.nn.Linear(3, 2), distance)
    vectors = torch.zeros(1, 3, requires_grad=True)  # at a mean, where a root's slope is infinite
    scores = classifier(vectors)
    (scores[:, 1] - scores[:, 0]).sum().backward()
    torch.testing.assert_close(vectors.grad[0], classifier.classifier.weight[1] - classifier.classifier.weight[0])


@pytest.mark.parametrize("name", ["mobilenet_v2_lstm", "efficientnet_lite0_frames", "bands_cnn_gru", "mfcc_gru_light"])
def test_a_network_of_each_kind_takes_a_gauge_scripts_with_it_and_keeps_its_logits(name: str) -> None:
    torch.manual_seed(0)
    net = build_network(name).eval()
    inputs = check_inputs(NETWORKS[name].spec, n_inputs=2)
    n_features = next(layer.in_features for layer in net.classifier if isinstance(layer, torch.nn.Linear))
    distance = MahalanobisDistance(torch.randn(2, n_features), torch.randn(4, n_features) / 100, 1.0)
    with torch.inference_mode():
        logits, attention = net(inputs)
        scores, gauged_attention = script(with_distance(net, distance))(inputs)
    assert scores.shape == (2, 3)
    assert (scores[:, 2] > 0).all()
    torch.testing.assert_close(scores[:, :2], logits)
    torch.testing.assert_close(gauged_attention, attention)
    assert net(inputs)[0].shape == (2, 2)  # left as it was


def test_percentiles_are_those_of_the_scale() -> None:
    assert [SCALE.percentile(distance) for distance in (0.0, 10.0, 15.0, 20.0, 99.0)] == [0.0, 0.0, 50.0, 100.0, 100.0]
    assert SCALE.describe(15.0) == {"score": 15.0, "percentile": 50.0}


def test_warns_from_the_stated_percentile_on() -> None:
    below, above = 10.0 + (WARN_PERCENTILE - 0.5) / 10, 10.0 + (WARN_PERCENTILE + 0.5) / 10
    assert [SCALE.warns(distance) for distance in (below, above)] == [False, True]
    assert not ood_warnings(SCALE.describe(below), "audio")
    (warning,) = ood_warnings(SCALE.describe(above), "audio")
    assert "the audio is unlike" in warning
    assert "19.95" in warning


def test_scale_is_the_variant_s_own_or_that_of_fp32() -> None:
    record = {"anomaly_percentiles": {"fp32": [1.0, 2.0], "int8": [3.0, 4.0]}}
    assert OodScale.from_record(record, "int8").distances == (3.0, 4.0)
    assert OodScale.from_record(record, "fp16").distances == (1.0, 2.0)
    assert OodScale.from_record({}, "fp32") is None
