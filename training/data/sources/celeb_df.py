"""Celeb-DF v2 (Li et al., CVPR 2020).

    Celeb-real/id0_0000.mp4             a celebrity
    YouTube-real/00170.mp4              somebody else, unnamed
    Celeb-synthesis/id0_id1_0000.mp4    the face of id1 on the footage of id0
    List_of_testing_videos.txt          lines "1 YouTube-real/00170.mp4"; here 1 is real

The published test list holds celebrities who appear outside of it: hardly a fake is left to train on once they are
kept apart. So the list serves to measure, and a division of one's own (`--splits own`) to train.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.data.clip import Clip, DatasetError
from training.data.sources.source import Source, words

FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
TEST_LIST = "List_of_testing_videos.txt"
_CELEBRITIES = re.compile(r"(id\d+)(?:_(id\d+))?_\d+$")


def read(folder: Path) -> Iterator[Clip]:
    """The clips of the three folders."""
    tested = {name.replace("\\", "/") for _, name in words(folder / TEST_LIST, 2)} if _has_list(folder) else set()
    for name, label in FOLDERS.items():
        for path in sorted((folder / name).rglob("*.mp4")):
            people = _people(path, name)
            yield Clip(
                path=path,
                label=label,
                group=people[0],
                split="test" if f"{name}/{path.name}" in tested else "",
                source="Celeb-DF v2",
                system="Celeb-DF v2" if label else "",
                people=people if len(people) > 1 else (),
            )


def _people(path: Path, folder: str) -> tuple[str, ...]:
    if folder == "YouTube-real":
        return (f"celeb-df/youtube-{path.stem}",)
    if match := _CELEBRITIES.match(path.stem):
        return tuple(f"celeb-df/{person}" for person in match.groups() if person)
    raise DatasetError(f"{path}: the name is none of Celeb-DF (id0_0000.mp4, id0_id1_0000.mp4)")


def _has_list(folder: Path) -> bool:
    return (folder / TEST_LIST).is_file()


CELEB_DF = Source(
    "celeb-df",
    "Celeb-real/, YouTube-real/, Celeb-synthesis/ and List_of_testing_videos.txt",
    lambda folder: (folder / "Celeb-real").is_dir() and (folder / "Celeb-synthesis").is_dir(),
    read,
    test_shares_people=True,
)
