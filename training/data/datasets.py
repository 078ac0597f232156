"""Labelled clips with the groups that must never be split.

    clips = load_dataset(Path("FaceForensics++"))

A data set is a folder in one of the layouts of `training.data.sources`: a `manifest.csv` (columns `file`, `label`, and
optionally `split`, `group`, `source`, `licence`, `system`), the sub-folders `real/` and `fake/`, or what the field
publishes (FaceForensics++, Celeb-DF, DFDC, ASVspoof, WaveFake, In-the-Wild). Under `real/` and `fake/` a clip's group
is the folder it lies in, or its file name without suffix when it lies directly in them, so that `real/anna.mp4` and
`fake/anna.mp4` stay together.

A group on two sides of a split is an error, not a warning: metrics from such a split would be wrong and look right.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from training.data.clip import SPLITS, Clip, DatasetError, LeakError, require_both_classes, select
from training.data.division import check_no_leak, divide, withhold
from training.data.sources import FORMATS
from training.data.sources.source import Source

__all__ = [
    "SPLITS",
    "Clip",
    "DatasetError",
    "LeakError",
    "check_no_leak",
    "load_dataset",
    "require_both_classes",
    "select",
]

SPLIT_ORIGINS = ("published", "own")


def load_dataset(
    folder: Path,
    *,
    layout: str = "auto",
    splits: str = "published",
    val_share: float = 0.2,
    test_share: float = 0.0,
    seed: int = 0,
    skip_missing: bool = False,
) -> list[Clip]:
    """The clips of one folder, each with its group and split.

    Clips that come without a split are divided here, whole groups at a time and the kinds of group (real, fake,
    mixed) alike; the same folder and seed give the same division.

    Args:
        folder: data set in one of the layouts.
        layout: a key of `FORMATS`, or `auto` for the first that fits.
        splits: `published` keeps the splits that the data set names, `own` divides all of it anew.
        val_share: share of the undivided groups that goes to `val`.
        test_share: share of the undivided groups that goes to `test`.
        seed: of the division.
        skip_missing: leave out manifest rows whose file is not there; of the published sets, which few people have
            whole, they always are.

    Raises:
        DatasetError: no such folder, no clip, an unknown label or split, a missing file.
        LeakError: a group lies in two splits.
    """
    folder = Path(folder)
    if splits not in SPLIT_ORIGINS:
        raise DatasetError(f"splits {splits!r} is unknown; allowed: {', '.join(SPLIT_ORIGINS)}")
    source = find_source(folder, layout)
    listed = list(source.read(folder))
    clips = [clip for clip in listed if clip.path.is_file()]
    if absent := len(listed) - len(clips):
        if source.name == "manifest" and not skip_missing:
            missing = next(clip.path for clip in listed if not clip.path.is_file())
            raise DatasetError(f"{folder}/manifest.csv: there is no file {missing}, nor {absent - 1} others it lists")
        tqdm.write(f"{folder}: {absent} of {len(listed)} listed files are not there and are left out")
    if not clips:
        raise DatasetError(f"{folder} lists no clip that is there ({source.name}: {source.layout})")
    n_withheld = 0
    if splits == "own":
        clips = [replace(clip, split="") for clip in clips]
    elif source.test_shares_people:
        clips, n_withheld = withhold(clips, "test")
    clips, n_mixed = divide(clips, {"val": val_share, "test": test_share}, seed)
    if n_withheld:
        tqdm.write(
            f"{folder}: left out {n_withheld} clips of people whom the published test list holds; "
            "to train on this set divide it anew (--splits own)"
        )
    if n_mixed:
        tqdm.write(f"{folder}: left out {n_mixed} clips that mix people of two splits")
    check_no_leak(clips)
    return clips


def find_source(folder: Path, layout: str = "auto") -> Source:
    """The reader for a folder.

    Raises:
        DatasetError: the layout is unknown, or the folder does not have it.
    """
    if layout != "auto" and layout not in FORMATS:
        raise DatasetError(f"format {layout!r} is unknown; allowed: auto, {', '.join(FORMATS)}")
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    wanted = FORMATS.values() if layout == "auto" else (FORMATS[layout],)
    for source in wanted:
        if source.recognizes(folder):
            return source
    known = "".join(f"\n  {source.name:14} {source.layout}" for source in wanted)
    raise DatasetError(f"{folder} is in none of the forms looked for:{known}")


def describe(clips: list[Clip]) -> str:
    """How many clips, groups and generators each split holds; one line a split."""
    lines = []
    for split in SPLITS:
        part = select(clips, split)
        counts = Counter(clip.label for clip in part)
        groups = len({clip.group for clip in part})
        systems = len({clip.system for clip in part if clip.label and clip.system})
        line = f"{split:5} {counts[0]:6} real {counts[1]:6} fake {groups:6} groups"
        lines += [line + (f" {systems:4} generators" if systems else "")] if part else []
    return "\n".join(lines)
