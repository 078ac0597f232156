"""Training on sound: which windows an epoch plays, and how they are validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from model_defs.audio_features import create_frontend
from model_defs.audio_input import audio_sample
from model_defs.errors import DetectionError
from model_defs.media import AudioSegment
from model_defs.spec import LABELS, AudioSpec, spec_to_dict
from training import distributed
from training.augment import augment_waveform, mask_features, mix_examples
from training.draws import Draw, batch_draws, draw_epoch
from training.engine import Batches, Scores, batch_loader
from training.evaluation import score_clips
from training.prepare import PreparedClip, write_atomically


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
    """

    batch_size: int = 32
    n_workers: int = 0
    seed: int = 0
    device: str = "cpu"
    mixup_share: float = 0.5
    n_copies: int = 0
    train_share: float = 1.0


class AudioTask:
    """Draws, inputs and validation of an audio network; see `training.engine.Task`."""

    def __init__(
        self,
        network: str,
        spec: AudioSpec,
        train: Sequence[PreparedClip],
        val: Sequence[PreparedClip],
        training: AudioTraining,
    ) -> None:
        self.spec = spec
        self.training = training
        self.val = val
        self._examples = _AudioExamples(train, spec, training)
        self.record = {"network": network, "spec": spec_to_dict(spec), "labels": list(LABELS)}

    def batches(self, epoch: int) -> Batches:
        train = self._examples.clips
        rng = np.random.default_rng([self.training.seed, epoch])
        draws = draw_epoch([item.clip for item in train], len(train), rng)
        batches = batch_draws(draws, [1] * len(draws), self.training.batch_size)
        loader = batch_loader(self._examples, batches, self.training.n_workers, self.training.device)
        return _MixedBatches(loader, self.training.mixup_share, rng)

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


class _AudioExamples(Dataset):
    """Features of one augmented window of a draw."""

    def __init__(self, clips: Sequence[PreparedClip], spec: AudioSpec, training: AudioTraining) -> None:
        self.clips = clips
        self.spec = spec
        self.training = training
        self.frontend = create_frontend(spec)
        self.n_stacked = 3 if spec.features == "mfcc" else 1
        # Lives as long as the run: a copy of another version of the augmentation can never be met.
        self._copies = TemporaryDirectory(prefix="augmented-") if training.n_copies else None

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int]:
        """Tensor (n_steps * train_share, n_features) float32 and its label."""
        rng = np.random.default_rng(draw.seed)
        features = self._copy(draw.index, draw.seed % self.training.n_copies) if self._copies else None
        if features is None:
            features = self._augmented(draw.index, rng)
        n_shown = max(1, round(self.training.train_share * len(features)))
        start = int(rng.integers(len(features) - n_shown + 1))
        features = mask_features(features[start : start + n_shown], rng, self.n_stacked)
        return features, self.clips[draw.index].clip.label

    def _copy(self, index: int, number: int) -> torch.Tensor:
        """One of the clip's augmented copies, made when it is first asked for."""
        path = Path(self._copies.name) / f"{index}-{number}.npy"
        if not path.is_file():
            features = self._augmented(index, np.random.default_rng([self.training.seed, index, number]))
            write_atomically(path, lambda file: np.save(file, features.numpy().astype(np.float16)))
        return torch.from_numpy(np.load(path).astype(np.float32))

    def _augmented(self, index: int, rng: np.random.Generator) -> torch.Tensor:
        """Features (n_steps, n_features) of one window of the clip, degraded."""
        segments = self.clips[index].audio_segments()
        segment = segments[rng.integers(len(segments))]
        augmented = augment_waveform(segment.samples, self.spec.rate_hz, rng)
        try:
            windows = self._features(AudioSegment(segment.start_s, augmented))
        except DetectionError:  # too little sound was left of it
            windows = self._features(segment)
        return windows[rng.integers(len(windows))]

    def _features(self, segment: AudioSegment) -> torch.Tensor:
        with torch.no_grad():
            return audio_sample([segment], self.spec, self.frontend).features
