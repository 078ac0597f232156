"""What a training run can be told, and the options of each script; see `training.run.options` for how they are read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from model_defs.networks.audio_svm import StatisticsNet
from model_defs.networks.audio_transformer import SpectrumTransformerNet
from model_defs.networks.registry import NETWORKS
from model_defs.spec import AudioSpec, InputSpec, VideoSpec
from training.augmentation.vocoders import VOCODERS
from training.data.datasets import Clip, load_dataset
from training.data.prepared import DEFAULT_CACHE
from training.data.sources import FORMATS
from training.loop.train_config import TrainConfig
from training.run.options import OptionsParser, Section, Settings, load_preset
from training.tasks.audio import AudioTraining
from training.tasks.video import VideoTraining


@dataclass(frozen=True)
class DataConfig:
    """Which clips are trained on.

    Attributes:
        dataset: folder of labelled clips.
        extra_dataset: more folders; their train split is added, their other splits are left alone.
        format: layout of the data set; auto finds it, as for the extra ones.
        splits: published keeps the splits that a data set names, own divides all of it anew by source group.
        val_share: of the source groups, where the data set names no split.
        split_seed: of that division; --seed leaves it alone, so that runs can be compared.
        cache: folder of prepared clips.
        sharded: each of several machines prepares and keeps its part of the train clips alone, in a cache of its own.
    """

    dataset: Path | None = None
    extra_dataset: tuple[Path, ...] = ()
    format: str = "auto"
    splits: Literal["published", "own"] = "published"
    val_share: float = 0.2
    split_seed: int = 0
    cache: Path = DEFAULT_CACHE
    sharded: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share is {self.val_share}; it must lie in 0 < x < 1")

    def load(self, folder: Path) -> list[Clip]:
        """The clips of one folder, divided as these settings say; raises DatasetError."""
        return load_dataset(
            folder, layout=self.format, splits=self.splits, val_share=self.val_share, seed=self.split_seed
        )


@dataclass(frozen=True)
class RunConfig:
    """Where a run happens and what it leaves.

    Attributes:
        save_path: of the best epoch; what else the run leaves lies beside it.
        resume: go on after the last epoch that was finished.
        export: end by writing TorchScript artifacts, the evaluation and the model card.
        tensorboard: write the history for TensorBoard, too.
        device: cpu, cuda or cuda:N; default: cuda where there is one.
        workers: processes that make examples, for each process that trains.
        seed: of everything random but the division of the data.
    """

    save_path: Path = Path("runs/model.pt")
    resume: bool = False
    export: bool = True
    tensorboard: bool = True
    device: str | None = None
    workers: int = min(4, os.cpu_count() or 1)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}; it must not be negative")


@dataclass(frozen=True)
class AudioModel:
    """What is trained.

    Attributes:
        network: what to train.
        init: start from this checkpoint of the same network.
    """

    network: str = "mfcc_bigru"
    init: Path | None = None


@dataclass(frozen=True)
class StatisticsModel:
    """What is fitted.

    Attributes:
        network: what to fit.
    """

    network: str = "moments_rbf_svm"


@dataclass(frozen=True)
class EncoderModel:
    """What is fitted.

    Attributes:
        network: what to fit.
    """

    network: str = "spectrum_transformer"


@dataclass(frozen=True)
class FramesModel:
    """What is trained on frames.

    Attributes:
        network: whose backbone to train.
        backbone_weights: imagenet, none, or a file with torchvision's keys.
        allow_random: start from random weights where those cannot be had.
        init: start from this checkpoint of the same network.
    """

    network: str = "efficientnet_b0_bilstm"
    backbone_weights: str | None = "imagenet"
    allow_random: bool = False
    init: Path | None = None


@dataclass(frozen=True)
class VideoModel(FramesModel):
    """What is trained.

    Attributes:
        network: what to train.
        backbone_weights: imagenet, none, or a file with torchvision's keys.
        allow_random: start from random weights where those cannot be had.
        init: start from this checkpoint of the same network.
        init_backbone: start from a backbone that training.pretrain_frames left.
        freeze_backbone: train the rest alone, which is quick.
    """

    init_backbone: Path | None = None
    freeze_backbone: bool = False

    def __post_init__(self) -> None:
        if self.init and self.init_backbone:
            raise ValueError("init and init_backbone are both set; one start is enough")


SETTINGS_SUFFIX = ".config.yaml"
_LOOP = Section("training", TrainConfig, unset=frozenset({"device"}))
_DATA_AND_RUN = (Section("data", DataConfig), Section("run", RunConfig))
VIDEO_NAMES = {
    "n_frames": "train_frames",
    "size_px": "train_px",
    "self_blended_share": "self_blended",
    "swapped_share": "swapped",
    "h264_share": "h264",
    "n_workers": "workers",
}
AUDIO_NAMES = {"n_workers": "workers", "mixup_share": "mixup", "n_copies": "augmented_copies"}


def video_parser(script: str, model: type, defaults: Mapping[str, Any], **texts: str) -> OptionsParser:
    """The options of a script that trains on faces."""
    sections = (
        *_DATA_AND_RUN,
        Section("model", model),
        _LOOP,
        Section("epochs of clips", VideoTraining, VIDEO_NAMES, frozenset({"train_px", "device"})),
        Section("input of the network", VideoSpec, unset=None),
    )
    return _parser(script, "video", sections, defaults, texts)


def audio_parser(script: str, defaults: Mapping[str, Any], **texts: str) -> OptionsParser:
    """The options of a script that trains on sound."""
    sections = (
        *_DATA_AND_RUN,
        Section("model", AudioModel),
        _LOOP,
        Section("epochs of windows", AudioTraining, AUDIO_NAMES, frozenset({"device"})),
        Section("input of the network", AudioSpec, unset=None),
    )
    return _parser(script, "audio", sections, defaults, texts)


def audio_fit_parser(script: str, fit: type, more: Sequence[Section] = (), **texts: str) -> OptionsParser:
    """The options of the script that fits a network to sound in closed form, as `fit` says, and `more`."""
    sections = (
        *_DATA_AND_RUN,
        Section("model", StatisticsModel),
        Section("fit", fit),
        *more,
        Section("input of the network", AudioSpec, unset=None),
    )
    networks = [name for name, network in NETWORKS.items() if network.create is StatisticsNet]
    return _parser(script, "audio", sections, {}, texts, networks=networks)


def encoder_fit_parser(script: str, how: type, defaults: Mapping[str, Any], **texts: str) -> OptionsParser:
    """The options of the script that fits a network to sound which starts from a pretrained encoder."""
    sections = (
        *_DATA_AND_RUN,
        Section("model", EncoderModel),
        Section("fit", how),
        _LOOP,
        Section("input of the network", AudioSpec, unset=None),
    )
    networks = [name for name, network in NETWORKS.items() if network.create is SpectrumTransformerNet]
    return _parser(script, "audio", sections, defaults, texts, networks=networks)


def input_spec(settings: Settings) -> InputSpec:
    """The network's input with what the settings change of it.

    Raises:
        ValueError: a value is out of its bounds.
    """
    spec = NETWORKS[settings["network"]].spec
    return replace(spec, **settings.changes(type(spec)))


def video_training(settings: Settings, spec: VideoSpec, device: str) -> VideoTraining:
    """How the settings want an epoch drawn and shown."""
    frozen = settings["freeze_batch_norm"] or settings.values.get("freeze_backbone", False)
    size_px = settings["train_px"] or spec.size_px
    return settings.make(VideoTraining, size_px=size_px, freeze_batch_norm=frozen, device=device)


def saved_data(checkpoint: Path) -> DataConfig:
    """How the data of a checkpoint was divided, from the settings beside it; the defaults where there are none."""
    path = checkpoint.with_suffix(SETTINGS_SUFFIX)
    if not path.is_file():
        return DataConfig()
    record = load_preset(str(path))[1]
    return DataConfig(**{name: record[name] for name in ("format", "splits", "val_share", "split_seed")})


def _parser(
    script: str,
    modality: str,
    sections: Sequence[Section],
    defaults: Mapping[str, Any],
    texts: Mapping[str, str],
    networks: Sequence[str] = (),
) -> OptionsParser:
    networks = networks or [name for name, network in NETWORKS.items() if network.modality == modality]
    choices = {"network": networks, "format": ("auto", *FORMATS), "vocoders": tuple(VOCODERS)}
    defaults = {"network": networks[0], "save_path": Path(f"runs/{script}/model.pt"), **defaults}
    return OptionsParser(script, sections, defaults, choices, required=("dataset",), **texts)
