"""Every preset in config/training runs through its script, as it stands but for its length."""

from __future__ import annotations

import importlib
import json

import pytest
import yaml

from training.options import PRESETS_DIR, preset_names, preset_spec

pytestmark = pytest.mark.usefixtures("few_resamples")

# What makes a run small; everything else is the preset's own.
SMALL = {"epochs": "1", "workers": "0", "device": "cpu", "batch_size": "4", "warmup_share": "0"}
SMALL_VIDEO = {"size_px": "32", "train_px": "32", "n_frames": "2", "train_frames": "2", "face_detector": "haar"}


@pytest.mark.parametrize("name", preset_names())
def test_preset_runs(name, audio_dataset, video_dataset, tmp_path):
    record = yaml.safe_load((PRESETS_DIR / f"{name}.yaml").read_text())
    is_video = record["network"].startswith("video")
    changes = SMALL | {"cache": str(tmp_path / "cache"), "save_path": str(tmp_path / "model.pt")}
    changes["dataset"] = str(video_dataset if is_video else audio_dataset)
    if is_video:
        changes |= SMALL_VIDEO | {"backbone_weights": "none"}
        if "init_backbone" in record:
            changes["init_backbone"] = "none"  # what another preset leaves
    options = [argument for option, value in changes.items() for argument in (f"--{option}", value)]
    script = importlib.import_module(f"training.{record['script']}")
    path = script.main(["--config", name, *options, "--no-tensorboard", "--no-export"])
    assert len(json.loads(path.with_suffix(".history.json").read_text())) == 1
    saved = yaml.safe_load(path.with_suffix(".config.yaml").read_text())
    assert {key: saved[key] for key in record if key not in changes and key != "export"} == {
        key: value for key, value in record.items() if key not in changes and key != "export"
    }
    assert preset_spec(name).modality == ("video" if is_video else "audio")
