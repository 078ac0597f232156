"""ASVspoof 2019 and 2021: synthetic and converted speech, one speaker a group.

2019, logical access:

    ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{train.trn,dev.trl,eval.trl}.txt
        lines "LA_0079 LA_T_1138215 - - bonafide": speaker, file, environment, system, key
    ASVspoof2019_LA_{train,dev,eval}/flac/LA_T_1138215.flac

2021, logical access and deepfake; evaluation only, with the keys unpacked beside it:

    keys/{LA,DF}/CM/trial_metadata.txt
        lines "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval": speaker, file, codec, channel or source,
        system, key, trim, subset, and more columns for DF
    ASVspoof2021_{LA,DF}_eval/flac/LA_E_9332881.flac

The speakers of 2021 are those of 2019's evaluation and keep their names here, so that using both cannot leak.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.data.clip import Clip
from training.data.sources.source import Source, label_of, words

PROTOCOLS = {"train": "train.trn", "val": "dev.trl", "test": "eval.trl"}
PARTS = {"train": "train", "val": "dev", "test": "eval"}


def read_2019(folder: Path) -> Iterator[Clip]:
    """The three partitions, as train, val and test."""
    root = _root_2019(folder) or folder
    for split, ending in PROTOCOLS.items():
        protocol = root / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{ending}.txt"
        sounds = root / f"ASVspoof2019_LA_{PARTS[split]}" / "flac"
        if protocol.is_file():
            for speaker, name, _, system, key, *_ in words(protocol, 5):
                yield _clip(sounds / f"{name}.flac", speaker, system, key, split, "ASVspoof 2019 LA", protocol)


def read_2021(folder: Path) -> Iterator[Clip]:
    """What the keys say of the `eval` subset, all of it test; `progress` and `hidden` are left alone."""
    for keys in _keys_2021(folder):
        sounds: dict[str, Path] = {}
        for speaker, name, _, _, system, key, _, subset, *_ in words(keys, 8):
            if subset != "eval":
                continue
            track = name.partition("_")[0]
            sounds = sounds or {path.stem: path for path in folder.glob(f"**/ASVspoof2021_{track}_eval*/**/*.flac")}
            path = sounds.get(name, folder / f"ASVspoof2021_{track}_eval" / "flac" / f"{name}.flac")
            yield _clip(path, speaker, system, key, "test", f"ASVspoof 2021 {track}", keys)


def _clip(path: Path, speaker: str, system: str, key: str, split: str, source: str, protocol: Path) -> Clip:
    label = label_of(key, "bonafide", "spoof", f"{protocol}, {path.stem}")
    system = system if label else ""
    return Clip(path, label, f"asvspoof/{speaker}", split, source=source, system=system)


def _root_2019(folder: Path) -> Path | None:
    """The archive unpacks into LA/; either level may be named."""
    roots = (folder, folder / "LA")
    return next((root for root in roots if (root / "ASVspoof2019_LA_cm_protocols").is_dir()), None)


def _keys_2021(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("**/trial_metadata.txt") if path.parent.name == "CM")


ASVSPOOF_2019 = Source(
    "asvspoof2019",
    "ASVspoof2019_LA_cm_protocols/ and ASVspoof2019_LA_{train,dev,eval}/flac/",
    lambda folder: _root_2019(folder) is not None,
    read_2019,
)
ASVSPOOF_2021 = Source(
    "asvspoof2021",
    "ASVspoof2021_{LA,DF}_eval/flac/ and keys/{LA,DF}/CM/trial_metadata.txt",
    lambda folder: any(folder.glob("ASVspoof2021_*")) and bool(_keys_2021(folder)),
    read_2021,
)
