"""What a reader of one layout is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from training.data.clip import Clip, DatasetError


@dataclass(frozen=True)
class Source:
    """A layout in which labelled clips are published.

    Attributes:
        name: for `--format`.
        layout: what a folder of it holds, in one line.
        recognizes: whether a folder has this layout.
        read: the clips of such a folder; their split is empty where the publisher names none.
        test_shares_people: the published test list holds people who are outside of it, too. What shares a person
            with a test clip is then left out of the other splits.
    """

    name: str
    layout: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path], Iterable[Clip]]
    test_shares_people: bool = False


def words(path: Path, n_at_least: int) -> Iterator[list[str]]:
    """The words of each line of a protocol file that is not blank.

    Raises:
        DatasetError: a line has fewer than `n_at_least`.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if parts := line.split():
                if len(parts) < n_at_least:
                    raise DatasetError(f"{path} line {number} has {len(parts)} columns; {n_at_least} are needed")
                yield parts


def label_of(word: str, real: str, fake: str, where: str) -> int:
    """0 for the word that stands for real, 1 for the one that stands for fake.

    Raises:
        DatasetError: it is neither.
    """
    if word not in (real, fake):
        raise DatasetError(f"{where}: label {word!r} is unknown; allowed: {real}, {fake}")
    return int(word == fake)
