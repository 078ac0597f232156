"""Pseudo-fakes of sound, made once: copies of real clips by the vocoders of `training.augmentation.vocoders`.

They lie beside the prepared waveforms, in `vocoded/`, named by the clip's content, the vocoder and the version of the
code that made them. Training makes what it does not find; `training.prepare --vocoders` makes all beforehand.
An interrupted run goes on where it stopped. Train clips alone are copied: val and test hold nothing that we made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.augmentation import vocoders
from training.data.prepared import PreparedClip, write_atomically

FOLDER = "vocoded"
SYSTEM = "self-vocoded"  # what a copy's clip names as its generator, before the vocoder


def vocoded_copies(
    real: Sequence[PreparedClip],
    names: Sequence[str],
    rate_hz: int,
    *,
    n_workers: int = 1,
    show_progress: bool = True,
) -> list[dict[str, PreparedClip]]:
    """A copy of each clip by each vocoder, made where it is not there yet.

    Args:
        real: prepared clips of the real class.
        names: keys of `VOCODERS`.
        rate_hz: of the waveforms.
        n_workers: processes; 1 or less: this one.
        show_progress: draw a bar on stderr.

    Returns:
        For each clip its copies by the vocoder's name; a copy is a prepared clip of the fake class.
    """
    found = [{name: _copy(item, name) for name in names} for item in real]
    wanted = [
        (item.array_path, copies[name].array_path, item.lengths, name, rate_hz)
        for item, copies in zip(real, found, strict=True)
        for name in names
        if not copies[name].array_path.is_file()
    ]
    if wanted:
        (wanted[0][1].parent).mkdir(exist_ok=True)
        with tqdm(total=len(wanted), desc="vocode", unit="copy", disable=not show_progress) as bar:
            if n_workers > 1:
                with ProcessPoolExecutor(n_workers) as pool:
                    for _ in pool.map(_make, wanted, chunksize=4):
                        bar.update()
            else:
                for one in wanted:
                    _make(one)
                    bar.update()
    return found


def _copy(item: PreparedClip, name: str) -> PreparedClip:
    path = item.array_path.parent / FOLDER / f"{item.array_path.stem}.{name}-{_version()}.npy"
    clip = replace(item.clip, label=1, system=f"{SYSTEM}:{name}")
    return replace(item, clip=clip, array_path=path)


@cache
def _version() -> str:
    """Of the vocoders' code: a copy of another version is not met."""
    return hashlib.sha256(Path(vocoders.__file__).read_bytes()).hexdigest()[:8]


def _make(wanted: tuple[Path, Path, tuple[int, ...], str, int]) -> None:
    """Write one copy; its randomness follows from the clip and the vocoder."""
    source, path, lengths, name, rate_hz = wanted
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:8]))
    segments = np.split(np.load(source), np.cumsum(lengths)[:-1])
    copy = np.concatenate([vocoders.vocode(segment, rate_hz, name, rng) for segment in segments])
    write_atomically(path, lambda file: np.save(file, copy))
