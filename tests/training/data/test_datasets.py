"""Groups are never split, and a data set that cannot be trusted is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.conftest import write_manifest
from training.data.datasets import (
    Clip,
    DatasetError,
    LeakError,
    check_no_leak,
    load_dataset,
    require_both_classes,
    select,
)


def make_folders(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def make_manifest(folder: Path, *rows: tuple[str, str, str, str]) -> Path:
    make_folders(folder, [row[0] for row in rows])
    write_manifest(folder, [dict(zip(("file", "label", "split", "group"), row, strict=True)) for row in rows])
    return folder


def test_manifest_gives_label_split_and_group(tmp_path):
    make_manifest(tmp_path, ("a.mp4", "real", "train", "anna"), ("b.mp4", "fake", "val", "ben"))
    assert load_dataset(tmp_path) == [
        Clip(tmp_path / "a.mp4", 0, "anna", "train"),
        Clip(tmp_path / "b.mp4", 1, "ben", "val"),
    ]


def test_group_in_two_splits_is_an_error_that_names_it(tmp_path):
    make_manifest(tmp_path, ("a.mp4", "real", "train", "anna"), ("b.mp4", "fake", "test", "anna"))
    with pytest.raises(LeakError, match="'anna' in test and train"):
        load_dataset(tmp_path)


def test_leak_between_data_sets_is_seen(tmp_path):
    here = [Clip(tmp_path / "a.mp4", 0, "anna", "train")]
    there = [Clip(tmp_path / "b.jpg", 0, "anna", "val")]
    check_no_leak(here + here)
    with pytest.raises(LeakError):
        check_no_leak(here + there)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("a.mp4", "genuine", "train", "g"), "label 'genuine'"),
        (("a.mp4", "real", "dev", "g"), "split 'dev'"),
    ],
)
def test_unknown_values_are_refused_with_their_line(tmp_path, row, problem):
    make_manifest(tmp_path, row)
    with pytest.raises(DatasetError, match=f"line 2: {problem}"):
        load_dataset(tmp_path)


def test_missing_file_is_refused_unless_it_may_be_skipped(tmp_path):
    make_manifest(tmp_path, ("a.mp4", "real", "train", "g"), ("b.mp4", "fake", "train", "h"))
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(DatasetError, match="no file"):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path, skip_missing=True)) == 1


def test_folder_without_data_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"none of the forms(.|\n)*folder +the sub-folders real/ and fake/"):
        load_dataset(tmp_path)
    make_folders(tmp_path, ["real/notes.txt", "fake/notes.txt"])
    with pytest.raises(DatasetError, match="no clip"):
        load_dataset(tmp_path)


def test_pairs_in_folders_share_a_group(tmp_path):
    make_folders(tmp_path, ["real/x.mp4", "fake/x.mp4", "real/anna/1.mp4", "fake/anna/2.mp4"])
    groups = {clip.path.relative_to(tmp_path).as_posix(): clip.group for clip in load_dataset(tmp_path)}
    assert groups == {"real/x.mp4": "x", "fake/x.mp4": "x", "real/anna/1.mp4": "anna", "fake/anna/2.mp4": "anna"}


def test_both_classes_are_required():
    with pytest.raises(DatasetError, match="the train split has no fake clip"):
        require_both_classes([Clip(Path("a"), 0, "a", "train")], "the train split")


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=20),
    seed=st.integers(0, 5),
)
def test_division_never_splits_a_group(tmp_path_factory, sizes, seed):
    folder = tmp_path_factory.mktemp("clips")
    names = [f"real/g{g}/{i}.mp4" for g, (n_real, _) in enumerate(sizes) for i in range(n_real + 1)]
    names += [f"fake/g{g}/{i}.mp4" for g, (_, n_fake) in enumerate(sizes) for i in range(n_fake)]
    make_folders(folder, [*names, "fake/other.mp4"])
    clips = load_dataset(folder, seed=seed)
    assert clips == load_dataset(folder, seed=seed)
    train, val = ({clip.group for clip in select(clips, split)} for split in ("train", "val"))
    assert not train & val
    assert train
    assert train | val == {clip.group for clip in clips}


def test_division_holds_out_the_share_asked_for(tmp_path):
    make_folders(tmp_path, [f"{label}/{label}{i}.wav" for label in ("real", "fake") for i in range(50)])
    clips = load_dataset(tmp_path, val_share=0.2, test_share=0.1)
    for label in (0, 1):
        counts = [sum(clip.label == label for clip in select(clips, split)) for split in ("train", "val", "test")]
        assert counts == [35, 10, 5]
