"""In-the-Wild (Müller et al., Interspeech 2022): found recordings of 54 public figures, and imitations of them.

meta.csv    file,speaker,label; label is bona-fide or spoof
0.wav, 1.wav, ...
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from training.data.clip import Clip, DatasetError
from training.data.sources.source import Source, label_of

META, COLUMNS = "meta.csv", {"file", "speaker", "label"}


def read(folder: Path) -> Iterator[Clip]:
    """The rows of meta.csv, one group a speaker."""
    with (folder / META).open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if missing := COLUMNS - set(reader.fieldnames or ()):
            raise DatasetError(f"{folder / META} lacks the column(s) {sorted(missing)}")
        for row in reader:
            label = label_of(row["label"], "bona-fide", "spoof", f"{folder / META} line {reader.line_num}")
            group = f"in-the-wild/{row['speaker']}"
            yield Clip(folder / row["file"], label, group, "", source="In-the-Wild")


IN_THE_WILD = Source(
    "in-the-wild",
    "meta.csv with the columns file, speaker and label",
    lambda folder: (folder / META).is_file(),
    read,
)
