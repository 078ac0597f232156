"""What a backbone makes of clips and of changed copies of them, kept in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from model_defs.preprocessing.video import video_tensor
from model_defs.spec import VideoSpec, spec_to_dict
from training.augmentation.faces import augment_crops
from training.augmentation.pseudo_fakes import self_blend
from training.data.prepared import PreparedClip, write_atomically

AS_IT_IS, DAMAGED, PSEUDO_FAKE = range(3)  # kinds of view
N_CROPS_A_BATCH = 64


@dataclass(frozen=True)
class Views:
    """Which copies of a clip are looked at beside its frames as they are.

    Attributes:
        n_damaged: of each frame, degraded as in training by epochs.
        self_blended: share of the real faces of which a pseudo-fake is made, degraded too, 0 to 1.
        h264: share of degraded copies that go through H.264 once more, 0 to 1.
        seed: of every random choice; with the clip's content it settles all of them.
    """

    n_damaged: int
    self_blended: float
    h264: float
    seed: int

    def of(self, item: PreparedClip, spec: VideoSpec) -> tuple[np.ndarray, np.ndarray]:
        """(crops (n, S, S, 3) uint8, kinds (n,)): its frames, then what is made of each."""
        frames = np.array(item.array())
        rng = np.random.default_rng([self.seed, int(item.array_path.stem[:12], 16)])
        crops, kinds = [*frames], [AS_IT_IS] * len(frames)
        for frame in frames:
            for _ in range(self.n_damaged):
                crops.append(augment_crops(frame[None], rng, self.h264)[0])
                kinds.append(DAMAGED)
            if item.clip.label == 0 and item.n_faces == item.n_frames and rng.random() < self.self_blended:
                blended = self_blend(frame[None], 1 / (1 + 2 * spec.face_margin), rng)
                crops.append(augment_crops(blended, rng, self.h264)[0])
                kinds.append(PSEUDO_FAKE)
        return np.stack(crops), np.array(kinds)


@dataclass(frozen=True)
class Vectors:
    """Vectors (n, n_features) float32, and of each the index of its clip and the kind of view, (n,)."""

    values: np.ndarray
    clips: np.ndarray
    kinds: np.ndarray


def collect_vectors(
    backbone: nn.Module,
    items: Sequence[PreparedClip],
    spec: VideoSpec,
    views: Views,
    folder: Path,
    *,
    use_bf16: bool = False,
    name: str = "",
) -> Vectors:
    """The vectors that a backbone gives for all views of all clips.

    Args:
        backbone: (N, 3, S, S) -> (N, n_features); in eval mode, on the CPU.
        items: clips prepared for `spec`.
        spec: of what the backbone is fed.
        views: what is looked at.
        folder: where a file is kept for each clip, below a name that follows from backbone, input and views; clips
            that are there are not looked at again.
        use_bf16: multiply in bf16.
        name: shown on the bar.
    """
    said = {"backbone": _digest(backbone), "spec": spec_to_dict(spec), "views": asdict(views), "bf16": use_bf16}
    said["prepared"] = items[0].array_path.parent.name  # which changes with what prepares clips
    own = folder / hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]
    own.mkdir(parents=True, exist_ok=True)
    paths = [own / f"{item.array_path.stem}.npz" for item in items]
    batch: list[tuple[Path, np.ndarray, np.ndarray]] = []  # looked at together: bf16 copies of weights cost much
    for path, item in zip(paths, tqdm(items, f"vectors, {name}", unit="clip"), strict=True):
        if not path.is_file():
            batch.append((path, *views.of(item, spec)))
        if batch and (item is items[-1] or sum(len(kinds) for _, _, kinds in batch) >= N_CROPS_A_BATCH):
            _look_at(backbone, batch, spec, use_bf16)
            batch.clear()
    values, kinds = [], []
    for path in paths:
        with np.load(path) as kept:
            values.append(kept["vectors"])
            kinds.append(kept["kinds"])
    return Vectors(
        np.concatenate(values), np.repeat(np.arange(len(kinds)), list(map(len, kinds))), np.concatenate(kinds)
    )


def _look_at(
    backbone: nn.Module, batch: Sequence[tuple[Path, np.ndarray, np.ndarray]], spec: VideoSpec, use_bf16: bool
) -> None:
    """Write the vectors of each clip's crops."""
    tensor = video_tensor(np.concatenate([crops for _, crops, _ in batch]), spec)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=use_bf16):
        found = backbone(tensor).float().numpy()
    ends = np.cumsum([len(kinds) for _, _, kinds in batch])
    for (path, _, kinds), vectors in zip(batch, np.split(found, ends[:-1]), strict=True):
        write_atomically(path, lambda file, of=vectors, are=kinds: np.savez(file, vectors=of, kinds=are))


def _digest(module: nn.Module) -> str:
    """SHA-256 over all weights."""
    found = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        found.update(key.encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
