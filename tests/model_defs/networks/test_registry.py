from __future__ import annotations

import pytest
import torch

from model_defs.networks.registry import NETWORKS, build_network
from training.exporting.variants import check_inputs, script


@pytest.fixture(scope="module", params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_scripts_as_written_and_answers_alike(name: str) -> None:
    net = build_network(name).eval()
    inputs = check_inputs(NETWORKS[name].spec, n_inputs=2)
    with torch.inference_mode():
        logits, attention = net(inputs)
        scripted_logits, scripted_attention = script(net)(inputs)
    assert logits.shape == (2, 2)
    assert attention.shape == inputs.shape[:2]
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(scripted_logits, logits)
    torch.testing.assert_close(scripted_attention, attention)


def test_modality_is_the_spec_s(name: str) -> None:
    network = NETWORKS[name]
    assert network.modality == network.spec.modality
    assert (network.backbone is None) == (network.modality == "audio")


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("efficientnet_b0_bilstm", 8e6, 12e6),
        ("efficientnet_b0_frames", 3.5e6, 4.5e6),
        ("efficientnet_lite0_frames", 3e6, 4e6),
        ("efficientnet_lite0_early_frames", 0.2e6, 0.3e6),
        ("mobilenet_v2_lstm", 2e6, 4e6),
        ("mfcc_bigru", 1.8e6, 2.2e6),
        ("mfcc_cnn_gru", 1.8e6, 2.4e6),
        ("bands_cnn_gru", 0.3e6, 0.6e6),
        ("bands_cnn_gru_light", 0.15e6, 0.25e6),
        ("moments_rbf_svm", 1e6, 1.5e6),
        ("moments_rbf_svm_light", 0.4e6, 0.5e6),
        ("mfcc_gru_light", 0.1e6, 0.5e6),
    ],
)
def test_parameter_counts(name: str, low: float, high: float) -> None:
    assert low <= sum(parameter.numel() for parameter in build_network(name).parameters()) <= high


def test_the_documented_sizes_of_the_video_network() -> None:
    net = build_network("efficientnet_b0_bilstm")
    assert (net.projection[0].in_features, net.projection[0].out_features) == (1280, 512)
    assert (net.temporal.num_layers, net.temporal.hidden_size, net.temporal.bidirectional) == (2, 256, True)
    assert [type(layer).__name__ for layer in net.classifier] == ["Linear", "ReLU", "Dropout", "Linear"]


def test_the_documented_sizes_of_the_audio_network() -> None:
    net = build_network("mfcc_bigru")
    assert net.norm.normalized_shape == (120,)
    assert (net.temporal.num_layers, net.temporal.hidden_size, net.temporal.bidirectional) == (2, 256, True)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in net.classifier) == 3


def test_unknown_names_and_misplaced_backbones_are_refused() -> None:
    with pytest.raises(ValueError, match="mfcc_gru_light"):
        build_network("vidio")
    with pytest.raises(ValueError, match="no image backbone"):
        build_network("mfcc_bigru", "imagenet")
