"""Labelled clips with the groups that must never be split.

A data set is a folder in one of two forms:

- `manifest.csv` with the columns `file` (relative to the folder) and `label`
  (`real` or `fake`), and optionally `split` (`train`, `val`, `test`), `group`,
  `source`, `licence` and `system` (or `method`); other columns are ignored;
- sub-folders `real/` and `fake/`. A clip's group is the folder it lies in below
  them, or its file name without suffix when it lies directly in them, so that
  `real/anna.mp4` and `fake/anna.mp4` stay together.

A group is whatever must not be on both sides of a split: a person, a driver
clip, a recording session. A group on two sides is an error, not a warning:
figures from such a split would be wrong and look right.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_defs.spec import LABELS

SPLITS = ("train", "val", "test")
MANIFEST_NAME = "manifest.csv"
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})  # one-frame clips, for training alone
MEDIA_SUFFIXES = IMAGE_SUFFIXES | {
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi"),
    *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"),
}


class DatasetError(ValueError):
    """A data set that cannot be used as it is; the message says what to change."""


class LeakError(DatasetError):
    """One group, or one file's content, lies in more than one split."""


@dataclass(frozen=True)
class Clip:
    """One labelled file.

    Attributes:
        path: the media file.
        label: index into `LABELS`: 0 real, 1 fake.
        group: the unit that is never split.
        split: `train`, `val` or `test`.
        source: where it was published, for reports; may be empty.
        licence: under which it was published; may be empty.
        system: what forged it, for reports; may be empty.
    """

    path: Path
    label: int
    group: str
    split: str
    source: str = ""
    licence: str = ""
    system: str = ""

    @property
    def is_image(self) -> bool:
        """True for a still picture, which is used as a clip of one frame."""
        return self.path.suffix.lower() in IMAGE_SUFFIXES


def load_dataset(
    folder: Path, *, val_share: float = 0.2, test_share: float = 0.0, seed: int = 0, skip_missing: bool = False
) -> list[Clip]:
    """The clips of one folder, each with its split.

    Clips that come without a split are divided here, whole groups at a time and
    the kinds of group (real, fake, mixed) alike; the same folder and seed give
    the same division.

    Args:
        folder: data set in one of the two forms above.
        val_share: share of the undivided groups that goes to `val`.
        test_share: share of the undivided groups that goes to `test`.
        seed: of the division.
        skip_missing: leave out manifest rows whose file is not there.

    Raises:
        DatasetError: no such folder, no clip, an unknown label or split, a missing file.
        LeakError: a group lies in two splits.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        clips = list(_read_manifest(manifest, skip_missing))
    elif all((folder / label).is_dir() for label in LABELS):
        clips = list(_read_folders(folder))
    else:
        raise DatasetError(f"{folder} holds neither {MANIFEST_NAME} nor the sub-folders {' and '.join(LABELS)}")
    if not clips:
        raise DatasetError(f"{folder} lists no clip")
    clips = _divide(clips, {"val": val_share, "test": test_share}, seed)
    check_no_leak(clips)
    return clips


def check_no_leak(clips: Iterable[Clip]) -> None:
    """Raise `LeakError` if a group has clips in more than one split."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits_of[clip.group].add(clip.split)
    leaks = {group: sorted(splits) for group, splits in splits_of.items() if len(splits) > 1}
    if leaks:
        shown = "; ".join(f"{group!r} in {' and '.join(splits)}" for group, splits in sorted(leaks.items())[:5])
        raise LeakError(f"{len(leaks)} source group(s) lie in more than one split: {shown}")


def select(clips: Iterable[Clip], *splits: str) -> list[Clip]:
    """The clips of the given splits, in their order."""
    return [clip for clip in clips if clip.split in splits]


def require_both_classes(clips: Sequence[Clip], what: str) -> None:
    """Raise `DatasetError` unless real and fake clips are both there."""
    for label, name in enumerate(LABELS):
        if not any(clip.label == label for clip in clips):
            raise DatasetError(f"{what} has no {name} clip; both classes are needed")


def _read_manifest(manifest: Path, skip_missing: bool) -> Iterable[Clip]:
    with manifest.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if missing := {"file", "label"} - set(reader.fieldnames or ()):
            raise DatasetError(f"{manifest} lacks the column(s) {sorted(missing)}")
        for row in reader:
            where = f"{manifest} line {reader.line_num}"
            if row["label"] not in LABELS:
                raise DatasetError(f"{where}: label {row['label']!r} is unknown; allowed: {', '.join(LABELS)}")
            split = row.get("split") or ""
            if split and split not in SPLITS:
                raise DatasetError(f"{where}: split {split!r} is unknown; allowed: {', '.join(SPLITS)}")
            path = manifest.parent / row["file"]
            if not path.is_file():
                if skip_missing:
                    continue
                raise DatasetError(f"{where}: there is no file {path}")
            yield Clip(
                path=path,
                label=LABELS.index(row["label"]),
                group=row.get("group") or path.stem,
                split=split,
                source=row.get("source") or "",
                licence=row.get("licence") or row.get("license") or "",
                system=row.get("system") or row.get("method") or "",
            )


def _read_folders(folder: Path) -> Iterable[Clip]:
    for label, name in enumerate(LABELS):
        root = folder / name
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix.lower() in MEDIA_SUFFIXES:
                inside = path.relative_to(root)
                group = inside.parts[0] if len(inside.parts) > 1 else path.stem
                yield Clip(path=path, label=label, group=group, split="")


def _divide(clips: list[Clip], shares: dict[str, float], seed: int) -> list[Clip]:
    """Give every clip without a split the split of its group."""
    split_of = {clip.group: clip.split for clip in clips if clip.split}
    labels_of: dict[str, set[int]] = defaultdict(set)
    for clip in clips:
        if not clip.split and clip.group not in split_of:
            labels_of[clip.group].add(clip.label)
    kinds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group, labels in labels_of.items():
        kinds[tuple(sorted(labels))].append(group)
    for groups in kinds.values():
        groups.sort(key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
        first = 0
        for split, share in shares.items():
            # At least one group is held out and one is kept wherever that is possible.
            n_held_out = min(max(1, round(share * len(groups))), len(groups) - 1 - first) if share > 0 else 0
            split_of.update(dict.fromkeys(groups[first : first + max(0, n_held_out)], split))
            first += max(0, n_held_out)
        split_of.update(dict.fromkeys(groups[first:], "train"))
    return [clip if clip.split else replace(clip, split=split_of[clip.group]) for clip in clips]
