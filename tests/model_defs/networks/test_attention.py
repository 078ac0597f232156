from __future__ import annotations

import torch

from model_defs.networks.attention import AdditiveAttention


def test_weights_are_a_distribution_over_time_and_pool_the_sequence() -> None:
    torch.manual_seed(0)
    sequence = torch.randn(2, 7, 16)
    context, weights = AdditiveAttention(16, 8)(sequence)
    assert weights.shape == (2, 7)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(context, torch.einsum("bt,btf->bf", weights, sequence))


def test_the_order_of_the_steps_does_not_matter() -> None:
    torch.manual_seed(0)
    attention, sequence = AdditiveAttention(16, 8), torch.randn(1, 5, 16)
    order = torch.tensor([3, 1, 4, 0, 2])
    context, weights = attention(sequence)
    shuffled_context, shuffled_weights = attention(sequence[:, order])
    torch.testing.assert_close(shuffled_context, context)
    torch.testing.assert_close(shuffled_weights, weights[:, order])
