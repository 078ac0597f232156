"""The first blocks of a vision transformer, as the backbone of a video network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH_PX = 16


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron on tokens, each after a layer norm and added to its input.

    A. Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), with the activation of A. Radford et al., "Learning
    Transferable Visual Models From Natural Language Supervision" (2021): x * sigmoid(1.702 x), near to GELU.

    Args:
        width: of a token.
        n_heads: parts of a token that attend by themselves.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, width) -> (N, L, width)."""
        heads = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        tokens = tokens + self.proj(attended.transpose(1, 2).flatten(2))
        hidden = self.fc1(self.norm2(tokens))
        return tokens + self.fc2(hidden * torch.sigmoid(1.702 * hidden))


class PatchTransformer(nn.Module):
    """What a vision transformer's first blocks make of each patch of an image, and of the image as a whole.

    The class token, which sums up the image, goes with every patch: averaged over patches it stays what it is, and the
    patches keep their places, to which a verdict can be traced.

    Args:
        width: of a token.
        n_blocks: that are kept.
        n_heads: of each block.
        size_px: of the images that the positions are learned at; for others they are interpolated.
    """

    def __init__(self, width: int = 768, n_blocks: int = 8, n_heads: int = 12, size_px: int = 160) -> None:
        super().__init__()
        self.width, self.patch_px = width, PATCH_PX
        n_side = size_px // PATCH_PX
        self.patch = nn.Linear(3 * PATCH_PX**2, width, bias=False)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.class_position = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, width, n_side, n_side))
        self.norm_in = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, n_heads) for _ in range(n_blocks)))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, 2 * width, H // 16, W // 16): of each patch, and of the class token."""
        side = self.patch_px
        n_rows, n_columns = images.shape[2] // side, images.shape[3] // side
        whole = images[:, :, : n_rows * side, : n_columns * side]
        patches = whole.reshape(-1, 3, n_rows, side, n_columns, side).permute(0, 2, 4, 1, 3, 5)
        positions = self.positions
        if positions.shape[2] != n_rows or positions.shape[3] != n_columns:
            positions = functional.interpolate(positions, size=(n_rows, n_columns), mode="bicubic")
        tokens = self.patch(patches.flatten(3).flatten(1, 2)) + positions.flatten(2).transpose(1, 2)
        first = (self.class_token + self.class_position).expand(tokens.shape[0], -1, -1)
        tokens = self.blocks(self.norm_in(torch.cat([first.to(tokens.dtype), tokens], dim=1)))
        tokens = self.norm_out(tokens)
        both = torch.cat([tokens[:, 1:], tokens[:, :1].expand(-1, n_rows * n_columns, -1)], dim=2)
        return both.transpose(1, 2).unflatten(2, (n_rows, n_columns))
