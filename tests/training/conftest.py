"""A tiny labelled data set of each modality."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.clips import tone, write_audio, write_clip
from tests.training.artifacts import AUDIO_SPEC, VIDEO_SPEC, BrightNet, SteadyNet, write_artifact
from tests.training.distillmos import Reference
from training.evaluation.metrics import summarize
from training.tasks import audio_encoder

LABELS = ("real", "fake")


def write_manifest(folder: Path, rows: list[dict]) -> None:
    """manifest.csv of a data set folder."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_dataset(folder: Path, suffix: str, make_clip, n_train: int = 8, n_val: int = 4) -> Path:
    """Clips of alternating class, each a group of its own; `make_clip(index, label)` gives the bytes."""
    rows = []
    for index in range(n_train + n_val):
        label, split = LABELS[index % 2], "train" if index < n_train else "val"
        path = folder / split / f"{label}_{index}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_clip(index, index % 2))
        rows.append({"file": path.relative_to(folder), "label": label, "split": split, "group": f"person {index}"})
    write_manifest(folder, rows)
    return folder


@pytest.fixture(scope="module")
def few_resamples() -> Iterator[None]:
    """Intervals from 20 resamples instead of 1,000, for runs whose intervals nobody reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(summarize.__kwdefaults__, "n_resamples", 20)
        yield


@pytest.fixture(scope="session")
def audio_dataset(tmp_path_factory) -> Path:
    """Half-second sounds: real ones are hoarse (noise and a tone), fake ones pure tones."""

    def make_clip(index: int, label: int) -> bytes:
        sound = tone(0.5, frequency_hz=200 + 60 * index)
        noise = np.random.default_rng(index).normal(0, 0.3, len(sound))
        return write_audio(sound=sound if label else (0.3 * sound + noise).astype(np.float32), duration_s=0.5)

    return write_dataset(tmp_path_factory.mktemp("audio"), ".wav", make_clip)


@pytest.fixture(scope="session")
def video_dataset(tmp_path_factory) -> Path:
    """Clips of a second without a face; each shows other times, so no two hold the same bytes."""

    def make_clip(index: int, label: int) -> bytes:
        return write_clip(times_s=[(index + frame) / 10 for frame in range(10)])

    return write_dataset(tmp_path_factory.mktemp("video"), ".mp4", make_clip, n_train=4, n_val=2)


@pytest.fixture(scope="session")
def audio_artifact(tmp_path_factory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "audio", SteadyNet(), AUDIO_SPEC, ("fp32", "int8"))


@pytest.fixture(scope="session")
def video_artifact(tmp_path_factory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "video", BrightNet(), VIDEO_SPEC, ("fp32",))


@pytest.fixture(scope="module")
def pretrained_encoder(tmp_path_factory) -> Iterator[Path]:
    """A file that is taken for DistillMOS's weights."""
    path = tmp_path_factory.mktemp("encoder") / "weights.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_encoder, "SHA256", Reference().save(path))
        yield path
