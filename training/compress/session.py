"""The network that is to be compressed, with the data that it is tuned and judged on."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from model_defs.networks.registry import NETWORKS
from model_defs.networks.video import FrameScoreNet
from model_defs.networks.weights import load_weights
from model_defs.spec import LABELS, InputSpec, VideoSpec, spec_from_dict, spec_to_dict
from training.loop import checkpoint
from training.loop.checkpoint import RunError
from training.loop.engine import Loss, Task, fit
from training.loop.train_config import TrainConfig
from training.run.config import SETTINGS_SUFFIX, DataConfig, video_training
from training.run.lifecycle import Prepared, prepared_splits, resolve_device
from training.run.options import Settings, load_preset, preset_names
from training.tasks.audio import AudioTask, AudioTraining
from training.tasks.video import VideoTask

TRAINING_SCRIPTS = ("train_audio", "train_video", "pretrain_frames")
FITTING_SCRIPT = "fit_audio"  # takes no steps


@dataclass(frozen=True)
class CompressionSession:
    """A trained network and the means to go on with it.

    Attributes:
        path: of its checkpoint or weights.
        net: in eval mode, on the CPU.
        network: its key in NETWORKS.
        spec: what it is fed.
        settings: of the script that trains such networks; they say how epochs are drawn, shown and learned from.
        train: clips to tune on, prepared for `spec`.
        val: clips to judge by, prepared for `spec`.
    """

    path: Path
    net: nn.Module
    network: str
    spec: InputSpec
    settings: Settings
    train: Prepared
    val: Prepared

    @cached_property
    def device(self) -> str:
        """Where it is trained."""
        return resolve_device(self.settings["device"])

    def task(self) -> Task:
        """Its training, as the settings have it."""
        if isinstance(self.spec, VideoSpec):
            training = video_training(self.settings, self.spec, self.device)
            return VideoTask(self.network, self.spec, self.train, self.val, training)
        training = self.settings.make(AudioTraining, device=self.device)
        return AudioTask(self.network, self.spec, self.train, self.val, training)

    def tune(self, net: nn.Module, task: Task, path: Path, loss: Loss | None = None) -> list[dict]:
        """Train `net` through the engine and return the history; the best epoch's checkpoint is at `path`."""
        config = self.settings.make(TrainConfig, device=self.device)
        history = fit(net, task, config, path, resume=self.settings["resume"], loss=loss)
        net.cpu().eval()
        return history

    def save(self, net: nn.Module, path: Path, **more: Any) -> None:
        """A checkpoint that `training.publish` and `load_weights` take, with its settings beside it."""
        write_checkpoint(net, self.network, self.spec, self.settings, path, **more)


def write_checkpoint(
    net: nn.Module, network: str, spec: InputSpec, settings: Settings, path: Path, **more: Any
) -> None:
    """`path`, and the settings beside it, from which its data is divided as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"network": network, "spec": spec_to_dict(spec), "labels": list(LABELS), **more}
    checkpoint.write({**record, "state": net.state_dict()}, path)
    own = Settings(settings.script, settings.sections, {**settings.values, "network": network})
    path.with_suffix(SETTINGS_SUFFIX).write_text(own.to_yaml(), encoding="utf-8")


def open_session(
    path: Path, dataset: Path, argv: Sequence[str] = (), preset: str | None = None, *, is_tuned: bool = True
) -> CompressionSession:
    """Load a network and the clips it was trained on.

    Args:
        path: a checkpoint, or published weights.
        dataset: folder of labelled clips.
        argv: options of the script that trains such networks, which beat the preset.
        preset: how it is trained; by default as it was (from the settings beside it), else as `default_preset` says.
        is_tuned: the session is going to be trained.

    Raises:
        RunError: there is no such file, no preset for its network, or nothing to train such networks with.
        DatasetError, LeakError: the clips cannot be trained on.
    """
    if not path.is_file():
        raise RunError(f"{path} is not there; give a checkpoint, or the model.safetensors of published weights")
    net, record = load_weights(path)
    own = path.with_suffix(SETTINGS_SUFFIX)
    preset = preset or (str(own) if own.is_file() else default_preset(record["network"]))
    script = _script(preset)
    if is_tuned and script not in TRAINING_SCRIPTS:
        raise RunError(
            f"{record['network']} is made by training.{script}, which takes no steps to tune it by; "
            "dynamic, static and distill need none"
        )
    settings = (
        importlib.import_module(f"training.{script}")
        .options()
        .settings(["--config", preset, "--dataset", str(dataset), *argv])
    )
    spec, data = spec_from_dict(record["spec"]), settings.make(DataConfig)
    train, val = prepared_splits(data.load(dataset), data, spec, n_workers=max(1, settings["workers"]))
    return CompressionSession(path, net, record["network"], spec, settings, train, val)


def default_preset(network: str) -> str:
    """The preset of config/training that trains a network as a whole: the one with the shortest name.

    Raises:
        RunError: there is none.
    """
    whole_in_frames = NETWORKS[network].create is FrameScoreNet
    records = {name: load_preset(name)[1] for name in preset_names()}
    fitting = [
        name
        for name, record in records.items()
        if record["network"] == network and (record["script"] != "pretrain_frames" or whole_in_frames)
    ]
    if not fitting:
        raise RunError(f"no preset trains {network}; give --config with one that fits: {', '.join(sorted(records))}")
    return min(fitting, key=lambda name: (len(name), name))


def _script(preset: str) -> str:
    """The script that a preset is for."""
    try:
        path, record = load_preset(preset)
    except ValueError as error:
        raise RunError(str(error)) from None
    if "script" not in record:
        raise RunError(f"{path} does not say which script it is for, such as {TRAINING_SCRIPTS[0]}")
    return record["script"]
