"""A team's own clips: a CSV manifest, or the sub-folders real/ and fake/."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from model_defs.spec import LABELS
from training.data.clip import MEDIA_SUFFIXES, SPLITS, Clip, DatasetError
from training.data.sources.source import Source

MANIFEST_NAME = "manifest.csv"


def read_manifest(folder: Path) -> Iterator[Clip]:
    """The rows of manifest.csv. Several people in `group` are separated by semicolons."""
    manifest = folder / MANIFEST_NAME
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
            path = folder / row["file"]
            people = tuple(filter(None, (person.strip() for person in (row.get("group") or "").split(";"))))
            yield Clip(
                path=path,
                label=LABELS.index(row["label"]),
                group=people[0] if people else path.stem,
                split=split,
                source=row.get("source") or "",
                licence=row.get("licence") or row.get("license") or "",
                system=row.get("system") or row.get("method") or "",
                people=people if len(people) > 1 else (),
            )


def read_folders(folder: Path) -> Iterator[Clip]:
    """The media files below real/ and fake/."""
    for label, name in enumerate(LABELS):
        root = folder / name
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix.lower() in MEDIA_SUFFIXES:
                inside = path.relative_to(root)
                group = inside.parts[0] if len(inside.parts) > 1 else path.stem
                yield Clip(path=path, label=label, group=group, split="")


MANIFEST = Source(
    "manifest",
    f"{MANIFEST_NAME} with the columns file and label",
    lambda folder: (folder / MANIFEST_NAME).is_file(),
    read_manifest,
)
FOLDER = Source(
    "folder",
    "the sub-folders real/ and fake/",
    lambda folder: all((folder / label).is_dir() for label in LABELS),
    read_folders,
)
