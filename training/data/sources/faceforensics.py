"""FaceForensics++ (Rössler et al., ICCV 2019), with the DeepFakeDetection clips that are published beside it.

    original_sequences/youtube/{raw,c23,c40}/videos/000.mp4
    original_sequences/actors/{raw,c23,c40}/videos/01__exit_phone_room.mp4
    manipulated_sequences/{Deepfakes,Face2Face,FaceSwap,FaceShifter,NeuralTextures}/{raw,c23,c40}/videos/000_003.mp4
    manipulated_sequences/DeepFakeDetection/{raw,c23,c40}/videos/01_02__exit_phone_room__YVGY8LOK.mp4
    train.json, val.json, test.json, here or in splits/: lists of pairs of sequence numbers

`000_003` is sequence 000 with something of 003 in it, so it belongs to both; the official splits keep
such pairs together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from training.data.clip import SPLITS, Clip, DatasetError
from training.data.sources.source import Source

COMPRESSIONS = ("raw", "c0", "c23", "c40")
_SEQUENCES = re.compile(r"(\d{3})(?:_(\d{3}))?$")
_ACTORS = re.compile(r"(\d{2})(?:_(\d{2}))?__")


def read(folder: Path) -> Iterator[Clip]:
    """Every compression that is there; masks are not read."""
    split_of = _official_splits(folder)
    for label, root in enumerate((folder / "original_sequences", folder / "manipulated_sequences")):
        for path in sorted(root.glob("**/videos/*.mp4")):
            compression = path.parent.parent.name
            if compression not in COMPRESSIONS:
                continue  # masks/videos
            people = _people(path)
            splits = {split_of[person] for person in people if person in split_of}
            if len(splits) > 1:
                raise DatasetError(f"{path}: its two sequences lie in different official splits")
            yield Clip(
                path=path,
                label=label,
                group=people[0],
                split=splits.pop() if splits else "",
                source=f"FaceForensics++ {compression}",
                system=path.relative_to(root).parts[0] if label else "",
                people=people if len(people) > 1 else (),
            )


def _people(path: Path) -> tuple[str, ...]:
    for prefix, pattern in (("ff++/", _SEQUENCES), ("dfd/", _ACTORS)):
        if match := pattern.match(path.stem):
            return tuple(prefix + number for number in match.groups() if number)
    raise DatasetError(f"{path}: the name is none of FaceForensics++ (000.mp4, 000_003.mp4, 01_02__scene__ID.mp4)")


def _official_splits(folder: Path) -> dict[str, str]:
    split_of = {}
    for split in SPLITS:
        for path in (folder / f"{split}.json", folder / "splits" / f"{split}.json"):
            if path.is_file():
                pairs = json.loads(path.read_text(encoding="utf-8"))
                split_of |= {f"ff++/{number}": split for pair in pairs for number in pair}
    return split_of


FACEFORENSICS = Source(
    "faceforensics",
    "original_sequences/ and manipulated_sequences/METHOD/{raw,c23,c40}/videos/AAA_BBB.mp4",
    lambda folder: (folder / "original_sequences").is_dir() and (folder / "manipulated_sequences").is_dir(),
    read,
)
