"""Two backbones that look at the same crops, side by side in one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_defs.networks.video_transformer import PatchTransformer
from model_defs.spec import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD


class JointFeatures(nn.Module):
    """The maps of a transformer and of convolutions.

    A transformer tells forgeries by what it knows of faces and pictures, convolutions by traces in the pixels; they err
    on different clips. The coarser map is repeated up to the size of the finer one, so that averages over space are
    those of either alone.

    Args:
        transformer: on images normalised as CLIP's.
        convolutions: (N, 3, H, W), normalised as ImageNet's -> (N, C, h, w).
    """

    def __init__(self, transformer: PatchTransformer, convolutions: nn.Sequential) -> None:
        super().__init__()
        self.transformer = transformer
        self.convolutions = convolutions
        gain = torch.tensor(CLIP_STD) / torch.tensor(IMAGENET_STD)
        offset = (torch.tensor(CLIP_MEAN) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
        self.register_buffer("gain", gain.view(3, 1, 1), persistent=False)
        self.register_buffer("offset", offset.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W), normalised as CLIP's -> (N, channels of both, H // 16, W // 16); H and W multiples of 32."""
        patches = self.transformer(images)
        traces = self.convolutions(images * self.gain + self.offset)
        size = (patches.shape[2], patches.shape[3])
        return torch.cat([patches, functional.interpolate(traces, size=size, mode="nearest")], dim=1)
