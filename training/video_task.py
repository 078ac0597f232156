"""Training on video: which crops an epoch shows, and how they are validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from model_defs.spec import LABELS, VideoSpec, spec_to_dict
from model_defs.video_input import video_tensor
from training import distributed
from training.augment import augment_crops, self_blend
from training.draws import Draw, batch_draws, draw_epoch
from training.engine import Scores, batch_loader
from training.evaluation import score_clips
from training.prepare import PreparedClip


@dataclass(frozen=True)
class VideoTraining:
    """How an epoch of video is drawn and shown.

    Attributes:
        batch_size: clips of `n_frames` in one step (pictures: as many as give the same number of frames).
        n_frames: frames of a clip that are shown in training.
        size_px: crops are shrunk to this side in training; the spec's size is used to validate.
        picture_weight: how often a picture is drawn compared with a clip, which has many frames.
        freeze_batch_norm: keep the statistics that the backbone came with. Without that a pretrained backbone
            learns several times as fast, but a step should then mix clips and pictures: with one frame a clip.
        self_blended_share: share of the fakes that is made of real faces, 0 to 1.
        n_workers: processes that load and augment.
        seed: of draws and augmentation.
        device: where the network is.
    """

    batch_size: int = 4
    n_frames: int = 4
    size_px: int = 224
    picture_weight: float = 0.2
    freeze_batch_norm: bool = False
    self_blended_share: float = 0.35
    n_workers: int = 0
    seed: int = 0
    device: str = "cpu"


class VideoTask:
    """Draws, inputs and validation of a video network; see `training.engine.Task`."""

    def __init__(
        self,
        network: str,
        spec: VideoSpec,
        train: Sequence[PreparedClip],
        val: Sequence[PreparedClip],
        training: VideoTraining,
    ) -> None:
        self.spec = spec
        self.training = training
        self.val = val
        self._examples = _VideoExamples(train, spec, training)
        self.record = {"network": network, "spec": spec_to_dict(spec), "labels": list(LABELS)}

    def batches(self, epoch: int) -> DataLoader:
        train = self._examples.clips
        rng = np.random.default_rng([self.training.seed, epoch])
        draws = draw_epoch(
            [item.clip for item in train],
            len(train),
            rng,
            weights=[self.training.picture_weight if item.clip.is_image else 1.0 for item in train],
            blendable=[i for i, item in enumerate(train) if item.clip.label == 0 and item.n_faces == item.n_frames],
            self_blended_share=self.training.self_blended_share,
        )
        lengths = [min(self.training.n_frames, train[draw.index].n_frames) for draw in draws]
        batches = batch_draws(draws, lengths, self.training.batch_size * self.training.n_frames)
        return batch_loader(self._examples, batches, self.training.n_workers, self.training.device)

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        shown = distributed.is_main()
        return score_clips(net, self.val[part], self.spec, self.training.device, show_progress=shown)

    def set_training(self, net: nn.Module) -> None:
        net.train()
        if self.training.freeze_batch_norm:
            for module in net.modules():
                if isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)):
                    module.eval()


class _VideoExamples(Dataset):
    """Augmented crops of one draw, normalised for the network."""

    def __init__(self, clips: Sequence[PreparedClip], spec: VideoSpec, training: VideoTraining) -> None:
        self.clips = clips
        self.n_frames = training.n_frames
        self.spec = replace(spec, size_px=training.size_px)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int]:
        """Tensor (T, 3, S, S) float32 and its label."""
        cv2.setNumThreads(0)  # the workers are the parallelism
        item = self.clips[draw.index]
        rng = np.random.default_rng(draw.seed)
        n_frames = min(self.n_frames, item.n_frames)
        shown = np.sort(rng.choice(item.n_frames, n_frames, replace=False))
        crops = np.array(item.array()[shown])
        if draw.self_blended:
            crops = self_blend(crops, 1 / (1 + 2 * self.spec.face_margin), rng)
        crops = augment_crops(crops, rng)
        size = (self.spec.size_px, self.spec.size_px)
        if crops.shape[1:3] != size:
            crops = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in crops])
        return video_tensor(crops, self.spec), 1 if draw.self_blended else item.clip.label
