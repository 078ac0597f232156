"""The Deepfake Detection Challenge (Dolhansky et al., 2020), as Kaggle gave it out.

    dfdc_train_part_N/metadata.json    {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, ...}
    dfdc_train_part_N/a.mp4

A forgery belongs to its original. Actors recur inside a part under other file names, and nothing says which: to measure
on actors never seen, give whole parts to one side, for instance as two data sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from training.data.clip import Clip, DatasetError
from training.data.sources.source import Source, label_of

METADATA = "metadata.json"
# What the release calls its splits; the training parts all say "train" and are divided by original.
_SPLITS = {"train": "", "validation": "val", "val": "val", "test": "test"}


def read(folder: Path) -> Iterator[Clip]:
    """The clips that the metadata of each part (or of `folder` itself) lists and that are there."""
    for metadata in _metadata_files(folder):
        for name, record in sorted(json.loads(metadata.read_text(encoding="utf-8")).items()):
            where = f"{metadata} {name}"
            if "label" not in record:
                raise DatasetError(f"{where}: no label")
            label = label_of(record["label"], "REAL", "FAKE", where)
            split = record.get("split", "train")
            if split not in _SPLITS:
                raise DatasetError(f"{where}: split {split!r} is unknown; allowed: {', '.join(_SPLITS)}")
            original = record.get("original") or name  # null for a real clip
            yield Clip(
                path=metadata.parent / name,
                label=label,
                group=f"dfdc/{Path(original).stem}",
                split=_SPLITS[split],
                source="DFDC",
                system="DFDC" if label else "",
            )


def _metadata_files(folder: Path) -> list[Path]:
    here = folder / METADATA
    return [here] if here.is_file() else sorted(folder.glob(f"*/{METADATA}")) or sorted(folder.glob(f"*/*/{METADATA}"))


def _recognizes(folder: Path) -> bool:
    for metadata in _metadata_files(folder)[:1]:
        records = json.loads(metadata.read_text(encoding="utf-8"))
        return isinstance(records, dict) and any("label" in record for record in records.values() if record)
    return False


DFDC = Source("dfdc", "dfdc_train_part_N/metadata.json with label, split and original", _recognizes, read)
