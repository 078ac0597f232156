"""Few clips that stand for many."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from training.data.clip import Clip


def balanced_subset(clips: Sequence[Clip], n_clips: int) -> list[Clip]:
    """At most `n_clips`, as many real as fake, spread over groups; the same clips give the same."""
    fakes = sum(clip.label for clip in clips)
    n_each = min(n_clips // 2, fakes, len(clips) - fakes)
    chosen = []
    for label in (0, 1):
        rank: Counter[str] = Counter()
        ordered = []
        for clip in sorted((clip for clip in clips if clip.label == label), key=_hash):
            ordered.append((rank[clip.group], _hash(clip), clip))
            rank[clip.group] += 1
        chosen += [clip for *_, clip in sorted(ordered, key=lambda entry: entry[:2])][:n_each]
    return chosen


def _hash(clip: Clip) -> str:
    return hashlib.sha256(f"{clip.group}/{clip.path.name}".encode()).hexdigest()
