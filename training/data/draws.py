"""Which clips make up an epoch: balanced by class and group, and the same for the same seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from training.data.datasets import Clip


class Draw(NamedTuple):
    """One training example to be made.

    Attributes:
        index: of the clip.
        seed: of its augmentation.
        self_blended: turn the (real) clip into a pseudo-fake.
    """

    index: int
    seed: int
    self_blended: bool = False


def draw_epoch(
    clips: Sequence[Clip],
    n_draws: int,
    rng: Generator,
    *,
    weights: Sequence[float] | None = None,
    blendable: Sequence[int] = (),
    self_blended_share: float = 0.0,
) -> list[Draw]:
    """Draws for one epoch, half of them real and half fake, in random order.

    Inside a class a clip's chance falls with the square root of its group's size,
    so that no one person or system outweighs the others, nor do its clips vanish.
    It falls too where its source shows little of the other class: what a source
    sounds or looks like must not tell the class.

    Args:
        clips: the training clips.
        n_draws: examples in the epoch.
        rng: source of every random choice.
        weights: how often each clip comes up compared with the others of its class; None: alike.
        blendable: indices of real clips that pseudo-fakes may be made of.
        self_blended_share: share of the fake half that is made of them.
    """
    chances = clip_chances(clips) * (1.0 if weights is None else np.asarray(weights))
    n_fake = n_draws // 2
    n_blended = round(n_fake * self_blended_share) if len(blendable) else 0
    real = [index for index, clip in enumerate(clips) if clip.label == 0]
    fake = [index for index, clip in enumerate(clips) if clip.label == 1]
    chosen = [(index, False) for index in _spread(chances, real, n_draws - n_fake, rng)]
    chosen += [(index, False) for index in _spread(chances, fake, n_fake - n_blended, rng)]
    chosen += [(index, True) for index in _spread(chances, blendable, n_blended, rng)]
    seeds = rng.integers(2**62, size=len(chosen))
    order = rng.permutation(len(chosen))
    return [Draw(chosen[i][0], int(seeds[i]), chosen[i][1]) for i in order]


def batch_draws(draws: Sequence[Draw], lengths: Sequence[int], n_frames_a_batch: int) -> list[list[Draw]]:
    """Batches of draws whose clips are equally long.

    Args:
        draws: in random order.
        lengths: frames of each draw.
        n_frames_a_batch: a batch holds as many clips as fit, at least one.

    Returns:
        Batches in the order in which they filled up, the incomplete ones at the end. A clip that is left over
        alone is dropped: batch norm cannot learn from one.
    """
    open_batches: dict[int, list[Draw]] = {}
    full = []
    for draw, length in zip(draws, lengths, strict=True):
        batch = open_batches.setdefault(length, [])
        batch.append(draw)
        if len(batch) >= max(1, n_frames_a_batch // length):
            full.append(open_batches.pop(length))
    incomplete = [batch for batch in open_batches.values() if len(batch) > 1]
    return full + incomplete


def clip_chances(clips: Sequence[Clip]) -> np.ndarray:
    """The chance of each clip inside its class, up to a factor, (n,).

    One over the square root of the size of its group, times the square root of the share of its source that is of
    the other class, a clip of each class being added to every source.
    """
    sizes = Counter((clip.label, clip.group) for clip in clips)
    of_source = Counter((clip.label, clip.source) for clip in clips)
    chances = []
    for clip in clips:
        own, other = (of_source[label, clip.source] for label in (clip.label, 1 - clip.label))
        chances.append(math.sqrt((other + 1) / (own + other + 2) / sizes[clip.label, clip.group]))
    return np.array(chances)


def _spread(chances: np.ndarray, indices: Sequence[int], n_draws: int, rng: Generator) -> list[int]:
    """Systematic sampling: each clip comes up its expected number of times, rounded up or down."""
    if not len(indices) or not n_draws:
        return []
    indices = rng.permutation(np.asarray(indices))
    reached = np.cumsum(chances[indices])
    positions = (np.arange(n_draws) + rng.random()) / n_draws * reached[-1]
    picked = np.searchsorted(reached, positions, side="right").clip(max=len(indices) - 1)
    return indices[picked].tolist()
