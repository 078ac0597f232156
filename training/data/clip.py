"""One labelled file, and what is said of a set of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_defs.spec import LABELS

SPLITS = ("train", "val", "test")
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
        split: `train`, `val` or `test`; empty until the data set is divided.
        source: where it was published, for reports; may be empty.
        licence: under which it was published; may be empty.
        system: what forged it, for reports; may be empty.
        people: the people or recordings that it was made of, where there are several (a swap has two); empty where
            `group` is the only one. Clips that share one belong to one group.
    """

    path: Path
    label: int
    group: str
    split: str
    source: str = ""
    licence: str = ""
    system: str = ""
    people: tuple[str, ...] = ()

    @property
    def is_image(self) -> bool:
        """True for a still picture, which is used as a clip of one frame."""
        return self.path.suffix.lower() in IMAGE_SUFFIXES

    @property
    def origins(self) -> tuple[str, ...]:
        """`people`, or the group where it stands alone."""
        return self.people or (self.group,)


def select(clips: Iterable[Clip], *splits: str) -> list[Clip]:
    """The clips of the given splits, in their order."""
    return [clip for clip in clips if clip.split in splits]


def require_both_classes(clips: Sequence[Clip], what: str) -> None:
    """Raise `DatasetError` unless real and fake clips are both there."""
    for label, name in enumerate(LABELS):
        if not any(clip.label == label for clip in clips):
            raise DatasetError(f"{what} has no {name} clip; both classes are needed")
