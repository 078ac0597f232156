"""Copies are made once, of real train clips alone, and again only where they are missing."""

from __future__ import annotations

import os

import pytest

from model_defs.networks.registry import NETWORKS
from training.augmentation.vocoded import vocoded_copies
from training.data.datasets import load_dataset, select
from training.data.prepared import prepare

SPEC = NETWORKS["mfcc_bigru"].spec


@pytest.fixture
def real(audio_dataset, tmp_path):
    clips = [clip for clip in select(load_dataset(audio_dataset), "train") if clip.label == 0]
    return prepare(clips, SPEC, tmp_path, show_progress=False)


def test_copies_are_fakes_of_the_same_group_and_length(real):
    copies = vocoded_copies(real, ["mel", "harmonic"], SPEC.rate_hz, show_progress=False)
    assert len(copies) == len(real)
    for item, by_name in zip(real, copies, strict=True):
        assert list(by_name) == ["mel", "harmonic"]
        for name, copy in by_name.items():
            assert (copy.clip.label, copy.clip.group, copy.clip.split) == (1, item.clip.group, "train")
            assert copy.clip.system == f"self-vocoded:{name}"
            assert copy.array().shape == item.array().shape
            assert (copy.array() != item.array()).any()


def test_an_interrupted_run_goes_on_where_it_stopped_and_gives_the_same(real):
    first = vocoded_copies(real, ["phase"], SPEC.rate_hz, show_progress=False)
    paths = [by_name["phase"].array_path for by_name in first]
    lost = paths[0].read_bytes()
    paths[0].unlink()
    for path in paths[1:]:
        os.utime(path, (0, 0))
    vocoded_copies(real, ["phase"], SPEC.rate_hz, n_workers=2, show_progress=False)
    assert paths[0].read_bytes() == lost
    assert all(path.stat().st_mtime == 0 for path in paths[1:])
