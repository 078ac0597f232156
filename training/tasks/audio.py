"""Training on sound: which windows an epoch plays, and how they are validated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from model_defs.decoding.media import AudioSegment
from model_defs.errors import DetectionError
from model_defs.preprocessing.audio import audio_sample
from model_defs.preprocessing.audio_features import create_frontend
from model_defs.spec import LABELS, AudioSpec, spec_to_dict
from training.augmentation.sound import augment_waveform, mask_features, mix_examples
from training.augmentation.vocoded import vocoded_copies
from training.augmentation.vocoders import VOCODERS
from training.data.draws import Draw, batch_draws, draw_epoch
from training.data.prepared import PreparedClip, write_atomically
from training.evaluation.scores import Scores, score_clips
from training.loop import distributed
from training.loop.engine import Batches, batch_loader


@dataclass(frozen=True)
class AudioTraining:
    """How an epoch of audio is drawn and heard.

    Attributes:
        batch_size: windows in one step.
        n_workers: processes that load and augment.
        seed: of draws and augmentation.
        device: where the network is.
        mixup_share: share of the batches whose examples are blended in pairs, 0 to 1.
        n_copies: of each clip, augmented once, that the run draws from: codecs cost more than the network.
            0: every draw is augmented anew. Masks and mixup are new each time.
        train_share: of a window's frames that are shown in training, from a random place on.
        undamaged_share: share of the draws (or of the copies) that no degradation touches.
        epoch_size: draws in an epoch, for each train clip.
        vocoded_share: share of the fakes that is made of real clips, 0 to 1; see `training.augmentation.vocoders`.
        vocoders: that make them.
    """

    batch_size: int = 32
    n_workers: int = 0
    seed: int = 0
    device: str = "cpu"
    mixup_share: float = 0.5
    n_copies: int = 0
    train_share: float = 1.0
    undamaged_share: float = 0.0
    epoch_size: float = 1.0
    vocoded_share: float = 0.0
    vocoders: tuple[str, ...] = tuple(VOCODERS)

    def __post_init__(self) -> None:
        if not 0 <= self.vocoded_share < 1:
            raise ValueError(f"vocoded_share is {self.vocoded_share}; it must lie in 0 <= x < 1")
        if unknown := set(self.vocoders) - set(VOCODERS):
            raise ValueError(f"vocoders holds {sorted(unknown)}; allowed: {', '.join(VOCODERS)}")
        if not self.vocoders or not self.epoch_size > 0:
            raise ValueError("vocoders must name at least one, and epoch_size be above 0")


class AudioTask:
    """Draws, inputs and validation of an audio network; see `training.loop.engine.Task`."""

    def __init__(
        self,
        network: str,
        spec: AudioSpec,
        train: Sequence[PreparedClip],
        val: Sequence[PreparedClip],
        training: AudioTraining,
        make_examples: Callable[..., AudioExamples] | None = None,
    ) -> None:
        self.spec = spec
        self.training = training
        self.val = val
        self._real = [index for index, item in enumerate(train) if item.clip.label == 0]
        self._examples = (make_examples or AudioExamples)(train, spec, training, self._vocoded(train))
        self.record = {"network": network, "spec": spec_to_dict(spec), "labels": list(LABELS)}

    def batches(self, epoch: int) -> Batches:
        train = self._examples.clips
        rng = np.random.default_rng([self.training.seed, epoch])
        draws = draw_epoch(
            [item.clip for item in train],
            round(self.training.epoch_size * len(train)),
            rng,
            blendable=self._real,
            self_blended_share=self.training.vocoded_share,
        )
        batches = batch_draws(draws, [1] * len(draws), self.training.batch_size)
        loader = batch_loader(
            self._examples,
            batches,
            self.training.n_workers,
            self.training.device,
            lambda draw: train[draw.index].machine,
        )
        return _MixedBatches(loader, self.training.mixup_share, rng)

    def _vocoded(self, train: Sequence[PreparedClip]) -> dict[int, list[PreparedClip]]:
        """Copies of each real clip that is here by each vocoder, by its index; empty where none are asked for."""
        if not self.training.vocoded_share:
            return {}
        here = [index for index in self._real if train[index].machine == distributed.machine()]
        n_workers = max(1, self.training.n_workers)
        with distributed.first_of_machine() if len(here) < len(self._real) else distributed.main_first():
            copies = vocoded_copies(
                [train[index] for index in here],
                self.training.vocoders,
                self.spec.rate_hz,
                n_workers=n_workers,
                show_progress=distributed.is_main(),
            )
        return {index: list(by_name.values()) for index, by_name in zip(here, copies, strict=True)}

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        shown = distributed.is_main()
        return score_clips(net, self.val[part], self.spec, self.training.device, show_progress=shown)

    def set_training(self, net: nn.Module) -> None:
        net.train()


class _MixedBatches:
    """The batches of a loader, a share of them blended; labels are then shares of the classes."""

    def __init__(self, loader: DataLoader, mixup_share: float, rng: np.random.Generator) -> None:
        self._loader, self._mixup_share, self._rng = loader, mixup_share, rng

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for inputs, labels in self._loader:
            mixed = self._rng.random() < self._mixup_share
            yield mix_examples(inputs, labels, self._rng) if mixed else (inputs, labels)


class AudioExamples(Dataset):
    """Features of one augmented window of a draw."""

    def __init__(
        self,
        clips: Sequence[PreparedClip],
        spec: AudioSpec,
        training: AudioTraining,
        vocoded: Mapping[int, Sequence[PreparedClip]] | None = None,
    ) -> None:
        self.clips = clips
        self.vocoded = vocoded or {}  # the copies of a real clip, by its index
        self.spec = spec
        self.training = training
        self.frontend = create_frontend(spec)
        self.n_stacked = 3 if spec.features == "mfcc" else 1
        # Lives as long as the run: a copy of another version of the augmentation can never be met.
        self._copies = TemporaryDirectory(prefix="augmented-") if training.n_copies else None

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int]:
        """Tensor (n_steps * train_share, n_features) float32 and its label."""
        rng = np.random.default_rng(draw.seed)
        item, name = self.clips[draw.index], str(draw.index)
        if draw.self_blended:
            which = int(rng.integers(len(self.vocoded[draw.index])))
            item, name = self.vocoded[draw.index][which], f"{draw.index}.{which}"
        features = self._copy(item, name, draw.seed % self.training.n_copies) if self._copies else None
        if features is None:
            features = self.augmented(item, rng)
        return self.shown(features, rng), item.clip.label

    def shown(self, features: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """The part of a window that is played, with masks: (n_steps * train_share, n_features)."""
        n_shown = shown_steps(len(features), self.training)
        start = int(rng.integers(len(features) - n_shown + 1))
        return mask_features(features[start : start + n_shown], rng, self.n_stacked)

    def _copy(self, item: PreparedClip, name: str, number: int) -> torch.Tensor:
        """One of the clip's augmented copies, made when it is first asked for."""
        path = Path(self._copies.name) / f"{name}-{number}.npy"
        if not path.is_file():
            seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:8])
            features = self.augmented(item, np.random.default_rng([self.training.seed, seed]))
            write_atomically(path, lambda file: np.save(file, features.numpy().astype(np.float16)))
        return torch.from_numpy(np.load(path).astype(np.float32))

    def augmented(self, item: PreparedClip, rng: np.random.Generator) -> torch.Tensor:
        """Features (n_steps, n_features) of one window of the clip, degraded."""
        segments = item.audio_segments()
        segment = segments[rng.integers(len(segments))]
        windows = None
        if rng.random() >= self.training.undamaged_share:
            augmented = augment_waveform(segment.samples, self.spec.rate_hz, rng)
            with suppress(DetectionError):  # too little sound may be left of it
                windows = self._features(AudioSegment(segment.start_s, augmented))
        if windows is None:
            windows = self._features(segment)
        return windows[rng.integers(len(windows))]

    def _features(self, segment: AudioSegment) -> torch.Tensor:
        with torch.no_grad():
            return audio_sample([segment], self.spec, self.frontend).features


def shown_steps(n_steps: int, training: AudioTraining) -> int:
    """How many of a window's steps are played in training."""
    return max(1, round(training.train_share * n_steps))
