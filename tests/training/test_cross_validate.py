"""No system, source or group of a scored clip is trained on, and every fold scores both classes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from tests.clips import tone, write_audio
from training.cross_validate import LARGE_GROUP, main, system_folds
from training.data.clip import Clip


def clips() -> list[Clip]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(400):
        label = int(rng.integers(2))
        source = f"demo {rng.integers(12)}"
        system = f"system {rng.integers(15)}" if label else ""
        group = "everybody's voice" if rng.random() < 0.1 else f"person {rng.integers(60)}"
        made.append(Clip(Path(str(index)), label, group, "train", source, "", system))
    return made


def test_folds_share_neither_system_nor_source_nor_group():
    known = clips()
    for trained, scored in system_folds(known):
        train, held = [known[i] for i in trained], [known[i] for i in scored]
        assert {clip.label for clip in held} == {clip.label for clip in train} == {0, 1}
        assert not {clip.source for clip in train} & {clip.source for clip in held}
        assert not {clip.system for clip in train if clip.label} & {clip.system for clip in held if clip.label}
        shared = {clip.group for clip in train} & {clip.group for clip in held}
        assert shared <= {"everybody's voice"}
        assert not any(clip.label == 0 and clip.group in shared for clip in held)


def test_a_large_group_is_one():
    assert sum(clip.group == "everybody's voice" for clip in clips()) > LARGE_GROUP


def test_folds_are_the_same_every_time():
    for (first, _), (again, _) in zip(system_folds(clips()), system_folds(clips()), strict=True):
        np.testing.assert_array_equal(first, again)


def test_the_command_scores_every_fold(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = []
    for index in range(24):
        label = ("real", "fake")[index % 2]
        sound = tone(1.0, frequency_hz=200 + 10 * index, level=0.3) + 0.05 * rng.standard_normal(16_000)
        (tmp_path / f"{index}.wav").write_bytes(write_audio(sound=sound.astype(np.float32), duration_s=1.0))
        system = f"system {index // 4}" if label == "fake" else ""
        rows.append((f"{index}.wav", label, "train", f"person {index}", f"source {index // 4}", system))
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split", "group", "source", "system"), *rows])
    common = ("--dataset", str(tmp_path), "--cache", str(tmp_path / "cache"), "--workers", "0")
    found = main(["--n-damaged", "0", "--vocoded-share", "0", *common])
    assert len(found) == 3
    assert all(0 <= one["auc"] <= 1 for one in found)
    mean = np.mean([one["eer"] for one in found])
    assert f"EER {mean:.3f}, means of 3 folds" in capsys.readouterr().out
    light = ["--config", "audio-light", "--n-damaged", "0", "--vocoded-share", "0", *common]
    assert len(main([*light, "--teacher", "audio"])) == 3
    told = capsys.readouterr().out
    assert told.count("16 examples, 16 support vectors") == 6  # of each fold the teacher and its student
