"""The learning rate over a run, and when to end it.

Both follow from the position in the run and its history alone, so a resumed run needs no state of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

START = 1e-3  # share of the peak rate that the first step has


def cosine_rate(progress: float, warmup_share: float) -> float:
    """Share of the peak learning rate at `progress` (0 to 1) of the run: linear rise, half cosine down.

    The warm-up of Goyal et al. (2017), the cosine of Loshchilov and Hutter (2017), without restarts.
    """
    if progress < warmup_share:
        return warmup_rate(progress, warmup_share)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup_share) / (1 - warmup_share)))


def plateau_rate(progress: float, warmup_share: float, history: Sequence[dict], patience: int, factor: float) -> float:
    """Share of the peak rate: linear rise, then 1, times `factor` for every `patience` epochs without a better one."""
    rise = warmup_rate(progress, warmup_share) if progress < warmup_share else 1.0
    return rise * factor ** sum(waited % patience == 0 for waited in _epochs_waited(history) if waited)


def warmup_rate(progress: float, warmup_share: float) -> float:
    """Share of the peak rate inside the warm-up."""
    return (progress + START) / (warmup_share + START)


def is_better(record: dict, best: dict | None) -> bool:
    """Whether an epoch is better than the best so far: a higher validation AUC, at equal AUC a lower loss."""
    return best is None or _rank(record) > _rank(best)


def best_epoch(history: Sequence[dict]) -> dict | None:
    """The first of the best epochs; None where there is none yet."""
    return max(history, key=_rank, default=None)


def is_over(history: Sequence[dict], patience: int) -> bool:
    """Whether the last `patience` epochs were no better than one before them; never with a patience of 0."""
    return bool(patience and history) and _epochs_waited(history)[-1] >= patience


def _rank(record: dict) -> tuple[float, float]:
    return record["val_auc"], -record["val_loss"]


def _epochs_waited(history: Sequence[dict]) -> list[int]:
    """For each epoch, how many have passed since the best one up to it."""
    waited, best = [], None
    for record in history:
        if is_better(record, best):
            best = record
            waited.append(0)
        else:
            waited.append(waited[-1] + 1)
    return waited
