"""Training on video: which crops an epoch shows, and how they are validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from model_defs.preprocessing.video import video_tensor
from model_defs.spec import LABELS, VideoSpec, spec_to_dict
from training.augmentation.faces import augment_crops
from training.augmentation.pseudo_fakes import self_blend, swap_faces
from training.data.draws import Draw, batch_draws, draw_epoch
from training.data.prepared import PreparedClip
from training.evaluation.scores import Scores, score_clips
from training.loop import distributed
from training.loop.engine import batch_loader

N_DONORS = 6  # other faces to choose the most alike from


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
        swapped_share: share of those that get the face of another real clip, 0 to 1; the rest get their own.
        h264_share: share of all examples that go through H.264 once more, after all else, 0 to 1.
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
    swapped_share: float = 0.0
    h264_share: float = 0.0
    n_workers: int = 0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("self_blended_share", "swapped_share", "h264_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0 <= x <= 1")


class VideoTask:
    """Draws, inputs and validation of a video network; see `training.loop.engine.Task`."""

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
            blendable=self._examples.blendable,
            self_blended_share=self.training.self_blended_share,
        )
        lengths = [min(self.training.n_frames, train[draw.index].n_frames) for draw in draws]
        batches = batch_draws(draws, lengths, self.training.batch_size * self.training.n_frames)
        return batch_loader(
            self._examples,
            batches,
            self.training.n_workers,
            self.training.device,
            lambda draw: train[draw.index].machine,
        )

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
        self.blendable = [i for i, item in enumerate(clips) if item.clip.label == 0 and item.n_faces == item.n_frames]
        self.donors = [index for index in self.blendable if clips[index].machine == distributed.machine()]
        self.training = training
        self.spec = replace(spec, size_px=training.size_px)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int]:
        """Tensor (T, 3, S, S) float32 and its label."""
        cv2.setNumThreads(0)  # the workers are the parallelism
        item = self.clips[draw.index]
        rng = np.random.default_rng(draw.seed)
        n_frames = min(self.training.n_frames, item.n_frames)
        shown = np.sort(rng.choice(item.n_frames, n_frames, replace=False))
        crops = np.array(item.array()[shown])
        if draw.self_blended:
            crops = self._pseudo_fake(draw, crops, rng)
        crops = augment_crops(crops, rng, self.training.h264_share)
        size = (self.spec.size_px, self.spec.size_px)
        if crops.shape[1:3] != size:
            crops = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in crops])
        return video_tensor(crops, self.spec), 1 if draw.self_blended else item.clip.label

    def _pseudo_fake(self, draw: Draw, crops: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        face_share = 1 / (1 + 2 * self.spec.face_margin)
        if rng.random() >= self.training.swapped_share:
            return self_blend(crops, face_share, rng)
        group = self.clips[draw.index].clip.group
        others = [self.clips[i] for i in rng.choice(self.donors, N_DONORS)]
        donors = [item for item in others if item.clip.group != group and item.n_frames >= len(crops)]
        if not donors:  # nobody else: a data set of one person, or of pictures beside clips
            return self_blend(crops, face_share, rng)
        frames = [np.array(item.array()[: len(crops)]) for item in donors]
        return swap_faces(crops, frames, face_share, rng)
