"""Source groups, and splits that never share one.

A group is whatever must not be on both sides of a split: a person, a driver clip, a recording session. A swap of two
people belongs to both, so people who were ever swapped with each other form one group (the connected components of
the graph whose edges are the forgeries).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from training.data.clip import Clip, LeakError

TANGLED_SHARE = 0.5  # of the clips in one group: above this the group's people are divided instead
MIN_TANGLED_PEOPLE = 4


def check_no_leak(clips: Iterable[Clip]) -> None:
    """Raise `LeakError` if a group, or one of the people in it, has clips in more than one split."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        for origin in {clip.group, *clip.people}:
            splits_of[origin].add(clip.split)
    leaks = {origin: sorted(splits) for origin, splits in splits_of.items() if len(splits) > 1}
    if leaks:
        shown = "; ".join(f"{origin!r} in {' and '.join(splits)}" for origin, splits in sorted(leaks.items())[:5])
        raise LeakError(f"{len(leaks)} source group(s) lie in more than one split: {shown}")


def link_groups(clips: Iterable[Clip]) -> list[Clip]:
    """The clips with the groups that follow from their people: who shares a clip shares a group.

    A group of one keeps its name; one of several is named `first+second` or, above two, `first+N others`.
    """
    clips = list(clips)
    parent: dict[str, str] = {}

    def root(origin: str) -> str:
        parent.setdefault(origin, origin)
        while parent[origin] != origin:
            parent[origin] = parent[parent[origin]]  # path halving
            origin = parent[origin]
        return origin

    for clip in clips:
        first = root(clip.origins[0])
        for other in clip.origins[1:]:
            parent[root(other)] = first
    members: dict[str, list[str]] = defaultdict(list)
    for origin in sorted(parent):
        members[root(origin)].append(origin)
    names = {key: _group_name(origins) for key, origins in members.items()}
    linked = []
    for clip in clips:
        name = names[root(clip.origins[0])]
        # A clip that takes the name of a larger group still says whose it is.
        linked.append(clip if name == clip.group else replace(clip, group=name, people=clip.origins))
    return linked


def divide(clips: Iterable[Clip], shares: Mapping[str, float], seed: int) -> tuple[list[Clip], int]:
    """Give every clip a split, whole groups at a time and the kinds of group (real, fake, mixed) alike.

    Clips that have a split keep it, and the others of their group follow. Where one group holds most clips, because
    everybody was swapped with everybody, its people are divided instead and clips that mix two sides are left out.

    Args:
        clips: their groups are linked here.
        shares: of the undivided groups (or people), by the split that they go to; the rest goes to `train`.
        seed: of the division; the same clips and seed give the same one.

    Returns:
        The clips in their order, and how many were left out.
    """
    clips = link_groups(clips)
    kept = link_groups(_untangle(clips, shares, seed))
    split_of = {clip.group: clip.split for clip in kept if clip.split}
    labels_of: dict[str, set[int]] = defaultdict(set)
    for clip in kept:
        if not clip.split and clip.group not in split_of:
            labels_of[clip.group].add(clip.label)
    kinds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group, labels in labels_of.items():
        kinds[tuple(sorted(labels))].append(group)
    for groups in kinds.values():
        split_of |= _assign(groups, shares, seed)
    divided = [clip if clip.split else replace(clip, split=split_of[clip.group]) for clip in kept]
    return divided, len(clips) - len(divided)


def withhold(clips: Iterable[Clip], split: str) -> tuple[list[Clip], int]:
    """Leave out what shares a person with `split` but does not belong to it: (clips, how many were left out)."""
    clips = list(clips)
    taken = {origin for clip in clips if clip.split == split for origin in clip.origins}
    kept = [clip for clip in clips if clip.split == split or not taken.intersection(clip.origins)]
    return kept, len(clips) - len(kept)


def _untangle(clips: list[Clip], shares: Mapping[str, float], seed: int) -> list[Clip]:
    undivided = [clip for clip in clips if not clip.split]
    sizes = Counter(clip.group for clip in undivided)
    if not sizes:
        return clips
    group, size = sizes.most_common(1)[0]
    tangled = [clip for clip in clips if clip.group == group]
    people = sorted({origin for clip in tangled for origin in clip.origins})
    has_split = any(clip.split for clip in tangled)
    if size <= TANGLED_SHARE * len(undivided) or len(people) < MIN_TANGLED_PEOPLE or has_split:
        return clips
    split_of = _assign(people, shares, seed)
    kept = []
    for clip in clips:
        if clip.group == group:
            splits = {split_of[origin] for origin in clip.origins}
            if len(splits) > 1:
                continue
            clip = replace(clip, split=splits.pop())
        kept.append(clip)
    return kept


def _assign(groups: list[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    groups = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
    split_of, first = {}, 0
    for split, share in shares.items():
        # At least one group is held out and one is kept wherever that is possible.
        n_held_out = min(max(1, round(share * len(groups))), len(groups) - 1 - first) if share > 0 else 0
        split_of.update(dict.fromkeys(groups[first : first + max(0, n_held_out)], split))
        first += max(0, n_held_out)
    split_of.update(dict.fromkeys(groups[first:], "train"))
    return split_of


def _group_name(origins: list[str]) -> str:
    return "+".join(origins) if len(origins) <= 2 else f"{origins[0]}+{len(origins) - 1} others"
