"""Prepared clips spread over machines: each prepares and keeps its part of the train clips, and none holds them all.

All machines know of every clip, by the records that they tell each other, so an epoch is drawn as by one machine; of
each batch a machine loads what it has. Validation clips are few, and every machine has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_defs.spec import InputSpec
from training.data.datasets import Clip, DatasetError
from training.data.prepared import PreparedClip, compare_contents, content_digests, prepare
from training.loop import distributed


def prepare_shards(
    clips: Sequence[Clip], spec: InputSpec, cache_dir: Path, *, n_workers: int, show_progress: bool = True
) -> list[PreparedClip]:
    """Prepare this machine's part of the train clips and all others; gives the records of all, in the clips' order.

    Args:
        clips: the same on all machines, in the same order.
        spec: of the network that is to be trained.
        cache_dir: on a disk of this machine's own.
        n_workers: threads that decode.
        show_progress: draw a bar on stderr.

    Raises:
        DatasetError: none of this machine's clips could be used.
    """
    train = [clip for clip in clips if clip.split == "train"]
    mine = train[distributed.machine() :: distributed.n_machines()]
    if not mine:
        raise DatasetError(f"{len(train)} train clips do not go round {distributed.n_machines()} machines")
    everywhere = [clip for clip in clips if clip.split != "train"]
    with distributed.first_of_machine():
        own = prepare([*mine, *everywhere], spec, cache_dir, n_workers=n_workers, show_progress=show_progress)
    here = distributed.machine()
    held = [replace(item, machine=here) for item in own if item.clip.split == "train"]
    told = distributed.gather(held if not distributed.local_rank() else [])
    by_path = {item.clip.path: item for item in own if item.clip.split != "train"}
    by_path |= {item.clip.path: item for part in told for item in part}
    return [by_path[clip.path] for clip in clips if clip.path in by_path]


def check_contents_of_shards(clips: Sequence[Clip], cache_dir: Path, *, n_workers: int) -> None:
    """Hash all files, each in one process alone, and compare them.

    Raises:
        LeakError: the same content lies in two splits.
        DatasetError: the same content carries both labels.
    """
    part = clips[distributed.my_part()]
    told = distributed.gather(list(zip(part, content_digests(part, cache_dir, n_workers=n_workers), strict=True)))
    pairs = [pair for each in told for pair in each]
    compare_contents([clip for clip, _ in pairs], [digest for _, digest in pairs])
