"""From one probability a modality to one probability a clip."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_WEIGHTS = {"video": 0.6, "audio": 0.4}
DEFAULT_THRESHOLD = 0.5  # of the fused probability


def fuse(p_fakes: Mapping[str, float], weights: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """Weighted mean of calibrated probabilities over the modalities that are there.

    Args:
        p_fakes: modality -> P(fake), for the modalities that could be scored.
        weights: modality -> weight >= 0; a modality not named counts 1. Weights
            need not sum to 1: they are normalised over the modalities in `p_fakes`.

    Returns:
        P(fake) of the clip, and the normalised weight of each modality.

    Raises:
        ValueError: nothing to fuse, or every modality there has weight 0.
    """
    present = {modality: weights.get(modality, 1.0) for modality in p_fakes}
    total = sum(present.values())
    if not total > 0:
        raise ValueError(f"no modality with a weight above 0 among {sorted(p_fakes)}")
    shares = {modality: weight / total for modality, weight in present.items()}
    return sum(p_fakes[modality] * share for modality, share in shares.items()), shares
