"""Every preset in config/training runs through its script, as it stands but for its length."""

from __future__ import annotations

import importlib
import json
import re

import pytest
import yaml

from model_defs.networks.registry import NETWORKS
from training.data.sources import FORMATS
from training.run.options import PRESETS_DIR, preset_names, preset_spec

pytestmark = pytest.mark.usefixtures("few_resamples")

# What makes a run small; everything else is the preset's own.
SMALL = {"epochs": "1", "workers": "0", "device": "cpu", "batch_size": "4", "warmup_share": "0"}
SMALL_VIDEO = {"size_px": "32", "train_px": "32", "n_frames": "2", "train_frames": "2", "face_detector": "haar"}


SCRIPTS = ("train_audio", "fit_audio", "fit_encoder", "train_video", "fit_video", "pretrain_frames")
PAGE = (PRESETS_DIR.parents[1] / "docs" / "training.md").read_text(encoding="utf-8")


def test_page_names_every_preset_and_format_and_no_other_option(capsys):
    table = PAGE.split("| preset | script |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\|([^|]+)\|", table, flags=re.MULTILINE))))
    assert named == set(preset_names())
    table = PAGE.split("| `--format` | layout |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE)) == set(FORMATS)
    scripts = [importlib.import_module(f"training.{name}") for name in SCRIPTS]
    known = {name.replace("_", "-") for script in scripts for name in script.options().options}
    for name in ("prepare", "publish", "evaluate", "finetune.continual", "finetune.few_shot"):
        with pytest.raises(SystemExit):
            importlib.import_module(f"training.{name}").main(["--help"])
    known |= set(re.findall(r"--([a-z][a-z-]+)", capsys.readouterr().out))
    torchrun = {"nproc-per-node", "nnodes", "rdzv-backend", "rdzv-endpoint", "logdir"}
    flags = set(re.findall(r"--([a-z][a-z-]+)", PAGE.replace("_", "-"))) - torchrun
    assert flags - known <= {"config", "show-config", "help", "no-export"}


# Those of fit_video want files of large backbones: test_fit_video runs them with small ones.
@pytest.mark.parametrize("name", sorted(set(preset_names()) - set(preset_names("fit_video"))))
def test_preset_runs(name, audio_dataset, video_dataset, pretrained_encoder, tmp_path):
    record = yaml.safe_load((PRESETS_DIR / f"{name}.yaml").read_text())
    is_video = NETWORKS[record["network"]].modality == "video"
    changes = SMALL | {"cache": str(tmp_path / "cache"), "save_path": str(tmp_path / "model.pt")}
    changes["dataset"] = str(video_dataset if is_video else audio_dataset)
    if is_video:
        changes |= SMALL_VIDEO | {"backbone_weights": "none"}
        if "init_backbone" in record:
            changes["init_backbone"] = "none"  # what another preset leaves
    if record["script"] == "fit_encoder":
        changes["encoder_weights"] = str(pretrained_encoder)
    script = importlib.import_module(f"training.{record['script']}")
    changes = {option: value for option, value in changes.items() if option in script.options().options}
    options = [argument for option, value in changes.items() for argument in (f"--{option}", value)]
    path = script.main(["--config", name, *options, "--no-tensorboard", "--no-export"])
    assert len(json.loads(path.with_suffix(".history.json").read_text())) == 1
    saved = yaml.safe_load(path.with_suffix(".config.yaml").read_text())
    assert {key: saved[key] for key in record if key not in changes and key != "export"} == {
        key: value for key, value in record.items() if key not in changes and key != "export"
    }
    assert preset_spec(name).modality == ("video" if is_video else "audio")
