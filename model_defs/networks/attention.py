"""Additive attention that pools a sequence to one vector and says where it looked."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """Weighted mean over time; weight_t = softmax_t(v . tanh(W h_t)).

    The additive score of Bahdanau et al., "Neural Machine Translation by Jointly
    Learning to Align and Translate" (2015), without a query.
    """

    def __init__(self, n_features: int, n_hidden: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Tanh(), nn.Linear(n_hidden, 1))

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Pool `sequence` of shape (B, T, n_features).

        Returns:
            The context (B, n_features) and the weights (B, T), which sum to 1 over time.
        """
        weights = torch.softmax(self.score(sequence).squeeze(-1), dim=1)
        context = torch.bmm(weights.unsqueeze(1), sequence).squeeze(1)
        return context, weights
