from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model_defs.networks.registry import build_network
from model_defs.networks.video import FrameScoreNet, VideoNet


class ChannelMeans(nn.Module):
    """A backbone that is cheap and tells different images apart."""

    n_features = 3

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def net() -> VideoNet:
    torch.manual_seed(0)
    return VideoNet(ChannelMeans()).eval()


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Three clips of four frames, each frame of one colour."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 3, 1, 1, generator=generator).expand(-1, -1, -1, 8, 8)


def test_clips_in_a_batch_do_not_touch_each_other(net: VideoNet, clips: Tensor) -> None:
    with torch.inference_mode():
        together, attention = net(clips)
        for index, clip in enumerate(clips):
            alone, alone_attention = net(clip[None])
            torch.testing.assert_close(together[index : index + 1], alone, atol=1e-6, rtol=1e-4)
            torch.testing.assert_close(attention[index : index + 1], alone_attention, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("n_frames", [1, 7])
def test_takes_any_number_of_frames(net: VideoNet, n_frames: int) -> None:
    with torch.inference_mode():
        assert net(torch.randn(1, n_frames, 3, 8, 8))[1].shape == (1, n_frames)


def test_sees_the_order_of_frames(net: VideoNet, clips: Tensor) -> None:
    with torch.inference_mode():
        assert (net(clips)[0] - net(clips.flip(1))[0]).abs().max() > 1e-4


def test_every_parameter_learns() -> None:
    net = build_network("mobilenet_v2_lstm")
    net(torch.randn(2, 2, 3, 64, 64))[0].square().sum().backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert not without


def test_frames_scored_alone_count_alike_until_attention_is_trained(clips: Tensor) -> None:
    torch.manual_seed(1)
    net = FrameScoreNet(ChannelMeans()).eval()
    with torch.inference_mode():
        logits, attention = net(clips)
        alone = net(clips.flatten(0, 1).unsqueeze(1))[0].view(3, 4, 2)
        torch.testing.assert_close(logits, alone.mean(1), atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(attention, torch.full((3, 4), 0.25))
        torch.testing.assert_close(net(clips.flip(1))[0], logits)


def test_attention_over_frames_learns_from_clips(clips: Tensor) -> None:
    net = FrameScoreNet(ChannelMeans(), dropout=0.0)
    net(clips)[0].square().sum().backward()
    assert net.attention.weight.grad.abs().sum() > 0
