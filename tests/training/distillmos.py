"""A file with the names and shapes of DistillMOS's weights, made of torch's own layers with random weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

N_MODEL, N_LAYERS, N_INPUTS = 200, 7, 1024
CHANNELS = (64, 64, 128, 256, 256, 256)


class Reference(nn.Module):
    """What DistillMOS's layers do, of torch's modules: (B, T, 161, 2) -> each layer's output (B, T / 2, 200)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for index, (n_in, n_out) in enumerate(zip((2, *CHANNELS), CHANNELS, strict=False)):
            stride = (2 if index else 1, 2 if index == 5 else 1)
            layers += [nn.Conv2d(n_in, n_out, 3, stride, padding=(0, 1)), nn.LeakyReLU(0.1)]
        self.local = nn.Sequential(*layers)
        self.first, self.second = nn.BatchNorm1d(N_INPUTS), nn.BatchNorm1d(N_INPUTS)
        for norm in (self.first, self.second):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
        self.projection = nn.Linear(N_INPUTS, N_MODEL)
        layer = nn.TransformerEncoderLayer(N_MODEL, 8, 2 * N_MODEL, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, N_LAYERS, enable_nested_tensor=False)
        self.eval()

    def forward(self, spectrum: Tensor, places: Tensor) -> list[Tensor]:
        maps = self.local(spectrum.permute(0, 3, 2, 1)).flatten(1, 2)
        steps = self.projection(self.second(self.first(maps)).transpose(1, 2))
        steps = steps + places[: steps.shape[1]]
        found = [steps]
        for layer in self.encoder.layers:
            found.append(layer(found[-1]))
        return found

    def save(self, path: Path) -> str:
        """Write it under DistillMOS's names; returns the file's SHA-256."""
        head = "transformer_pool_attn."
        names = {
            "local.": "cnn.cnn.",
            "first.": f"{head}norm_input.",
            "second.": f"{head}transformer.norm.",
            "projection.": f"{head}transformer.linear_proj.",
            "encoder.": f"{head}transformer.transformer_encoder.",
        }
        state = {}
        for name, value in self.state_dict().items():
            (prefix,) = (prefix for prefix in names if name.startswith(prefix))
            state[names[prefix] + name.removeprefix(prefix)] = value
        torch.save({"model": state}, path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
