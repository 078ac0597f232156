"""No split shares a person with another, whatever was swapped with whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.clip import SPLITS, Clip, LeakError
from training.data.division import check_no_leak, divide, link_groups, withhold

people = st.integers(0, 12).map("p{}".format)
clips = st.lists(
    st.lists(people, min_size=1, max_size=3, unique=True).map(
        lambda names: Clip(Path("x"), int(len(names) > 1), names[0], "", people=tuple(names) if len(names) > 1 else ())
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(clips, st.integers(0, 3), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([0.0, 0.3]))
def test_no_person_lies_in_two_splits(clips, seed, val_share, test_share):
    shares = {"val": val_share, "test": test_share}
    divided, n_left_out = divide(clips, shares, seed)
    assert divide(clips, shares, seed) == (divided, n_left_out)
    assert len(divided) + n_left_out == len(clips)
    splits_of: dict[str, set[str]] = {}
    for clip in divided:
        assert clip.split in SPLITS
        for origin in (*clip.origins, clip.group):
            splits_of.setdefault(origin, set()).add(clip.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    check_no_leak(divided)


@settings(max_examples=100, deadline=None)
@given(clips)
def test_who_shares_a_clip_shares_a_group(clips):
    linked = link_groups(clips)
    for clip in linked:
        for other in linked:
            assert (clip.group == other.group) or not set(clip.origins) & set(other.origins)
    assert link_groups(linked) == linked
    assert [clip.origins for clip in linked] == [clip.origins for clip in clips]


@settings(max_examples=100, deadline=None)
@given(clips, st.data())
def test_a_leak_in_given_splits_is_an_error(clips, data):
    given_splits = [data.draw(st.sampled_from(SPLITS)) for _ in clips]
    with_splits = [
        Clip(c.path, c.label, c.group, split, people=c.people) for c, split in zip(clips, given_splits, strict=True)
    ]
    leaks = any(
        a.split != b.split and set(a.origins) & set(b.origins) for a in with_splits for b in with_splits
    )  # direct contact is enough: a chain of contacts within one split ends in one that crosses
    divided, _ = divide(with_splits, {"val": 0.2}, 0)
    if leaks:
        with pytest.raises(LeakError):
            check_no_leak(divided)
    else:
        check_no_leak(divided)


def test_swap_between_two_data_sets_is_seen():
    swap = Clip(Path("a"), 1, "anna+ben", "train", people=("anna", "ben"))
    with pytest.raises(LeakError, match="'ben' in train and val"):
        check_no_leak([swap, Clip(Path("b"), 0, "ben", "val")])


def test_withheld_clips_share_a_person_with_the_test_list():
    listed = Clip(Path("a"), 1, "anna", "test", people=("anna", "ben"))
    kept, n_left_out = withhold([listed, Clip(Path("b"), 0, "ben", ""), Clip(Path("c"), 0, "carl", "")], "test")
    assert [clip.path.name for clip in kept] == ["a", "c"]
    assert n_left_out == 1
