"""A network that costs next to nothing, so that what a request costs is its server."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from loadtest.peers.tiny_handler import NET_FILE

SEED = 0


def save_tiny_net(directory: Path) -> Path:
    """Writes it as TorchScript; its weights are random and always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        net = nn.Sequential(
            nn.Conv2d(3, 8, kernel_size=3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
        )
    path = directory / NET_FILE
    torch.jit.freeze(torch.jit.script(net.eval())).save(path)
    return path
