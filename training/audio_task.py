"""Training on sound: which windows an epoch plays, and how they are validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from model_defs.audio_features import MfccFrontend
from model_defs.audio_input import audio_sample
from model_defs.errors import DetectionError
from model_defs.media import AudioSegment
from model_defs.spec import LABELS, AudioSpec, spec_to_dict
from training.augment import augment_waveform, mask_features
from training.draws import Draw, batch_draws, draw_epoch
from training.engine import Scores, batch_loader
from training.evaluation import score_clips
from training.prepare import PreparedClip


@dataclass(frozen=True)
class AudioTraining:
    """How an epoch of audio is drawn and heard.

    Attributes:
        batch_size: windows in one step.
        n_workers: processes that load and augment.
        seed: of draws and augmentation.
        device: where the network is.
    """

    batch_size: int = 32
    n_workers: int = 0
    seed: int = 0
    device: str = "cpu"


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
        self._examples = _AudioExamples(train, spec)
        self.record = {"network": network, "spec": spec_to_dict(spec), "labels": list(LABELS)}

    def batches(self, epoch: int) -> DataLoader:
        train = self._examples.clips
        rng = np.random.default_rng([self.training.seed, epoch])
        draws = draw_epoch([item.clip for item in train], len(train), rng)
        batches = batch_draws(draws, [1] * len(draws), self.training.batch_size)
        return batch_loader(self._examples, batches, self.training.n_workers, self.training.device)

    def validate(self, net: nn.Module) -> Scores:
        return score_clips(net, self.val, self.spec, self.training.device, show_progress=True)

    def set_training(self, net: nn.Module) -> None:
        net.train()


class _AudioExamples(Dataset):
    """Features of one augmented window of a draw."""

    def __init__(self, clips: Sequence[PreparedClip], spec: AudioSpec) -> None:
        self.clips = clips
        self.spec = spec
        self.frontend = MfccFrontend(spec).eval()

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int]:
        """Tensor (n_steps, n_features) float32 and its label."""
        item = self.clips[draw.index]
        rng = np.random.default_rng(draw.seed)
        segments = item.audio_segments()
        segment = segments[rng.integers(len(segments))]
        augmented = augment_waveform(segment.samples, self.spec.rate_hz, rng)
        try:
            features = self._features(AudioSegment(segment.start_s, augmented))
        except DetectionError:  # too little sound was left of it
            features = self._features(segment)
        window = features[rng.integers(len(features))]
        return mask_features(window, rng), item.clip.label

    def _features(self, segment: AudioSegment) -> torch.Tensor:
        with torch.no_grad():
            return audio_sample([segment], self.spec, self.frontend).features
