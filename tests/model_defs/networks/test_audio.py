from __future__ import annotations

import pytest
import torch

from model_defs.networks.audio import AudioNet, SpectrogramNet
from model_defs.networks.registry import NETWORKS, build_network


@pytest.mark.parametrize("n_steps", [1, 5, 126, 251])
@pytest.mark.parametrize(
    ("create", "n_features"),
    [
        (lambda: AudioNet(n_channels=(16, 16), n_hidden=8, n_layers=1), 120),
        (lambda: SpectrogramNet(n_channels=(4, 8, 8), n_hidden=8), 80),
    ],
)
def test_attention_covers_every_feature_frame(create, n_features: int, n_steps: int) -> None:
    net = create().eval()
    with torch.inference_mode():
        _, attention = net(torch.randn(2, n_steps, n_features))
    assert attention.shape == (2, n_steps)
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))


def test_convolutions_shorten_what_the_gru_reads() -> None:
    net = AudioNet(n_channels=(16, 16), n_hidden=8).eval()
    assert net.local(torch.randn(1, 120, 252)).shape == (1, 16, 63)


@pytest.mark.parametrize("n_bands", [79, 80, 81])
def test_the_gru_reads_every_fourth_frame_of_any_number_of_bands(n_bands: int) -> None:
    net = SpectrogramNet(n_features=n_bands, n_channels=(4, 8, 8), n_hidden=8).eval()
    assert net.local(torch.randn(1, 1, 401, n_bands)).shape[:3] == (1, 8, 101)
    with torch.inference_mode():
        assert net(torch.randn(2, 401, n_bands))[0].shape == (2, 2)


def test_input_scale_does_not_matter() -> None:
    torch.manual_seed(0)
    net, features = build_network("mfcc_bigru").eval(), torch.randn(1, 50, 120)
    with torch.inference_mode():
        torch.testing.assert_close(net(features)[0], net(10 * features + 3)[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["mfcc_bigru", "mfcc_cnn_gru", "bands_cnn_gru", "mfcc_gru_light"])
def test_every_parameter_learns(name: str) -> None:
    net = build_network(name)
    net(torch.randn(2, 40, NETWORKS[name].spec.n_features))[0].square().sum().backward()
    without = [key for key, parameter in net.named_parameters() if parameter.grad is None]
    assert not without


def test_the_convolutions_of_a_spectrogram_stay_in_the_layout_that_cpus_are_quickest_in():
    net = SpectrogramNet()
    net.load_state_dict({name: tensor.contiguous() for name, tensor in net.state_dict().items()})
    convolutions = [module for module in net.local.modules() if isinstance(module, torch.nn.Conv2d)]
    for convolution in convolutions:
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    maps = net.local(torch.zeros(2, 1, 40, 80).contiguous(memory_format=torch.channels_last))
    assert maps.is_contiguous(memory_format=torch.channels_last)
