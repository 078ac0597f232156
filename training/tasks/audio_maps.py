"""What the frozen convolutions of a SpectrumTransformerNet make of training sound, made once and kept on the disk.

They cost six times what the transformer after them costs, so training runs over their output. It lies beside the
prepared waveforms in `maps/`, one file for each copy of all clips, named by everything that it depends on; an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from model_defs.networks.audio_transformer import SpectrumTransformerNet, heard_steps
from model_defs.spec import AudioSpec
from training.augmentation import audio_codecs, sound
from training.data.clip import Clip
from training.data.prepared import PreparedClip
from training.evaluation.scores import Scores
from training.tasks.audio import AudioExamples, AudioTraining

FOLDER = "maps"
N_AT_ONCE = 32  # windows that a worker is given


@dataclass(frozen=True)
class Maps:
    """Maps of the copies of n clips, fp16 in files that are mapped into memory.

    Attributes:
        copies: for each copy (as it is, then damaged) the maps of all clips, (n, S, channels * bins).
        heard: for each copy 1 where a step is no digital silence, (n, S) uint8.
    """

    copies: tuple[np.ndarray, ...]
    heard: tuple[np.ndarray, ...]


def make_maps(
    net: SpectrumTransformerNet,
    items: Sequence[PreparedClip],
    spec: AudioSpec,
    *,
    n_damaged: int,
    seed: int = 0,
    n_workers: int = 1,
    half: bool = True,
) -> Maps:
    """The maps of each clip as it is, and of damaged copies of it.

    Args:
        net: its convolutions make them.
        items: prepared clips.
        spec: input of the network.
        n_damaged: copies that are degraded as in training by epochs.
        seed: of the damage.
        n_workers: processes.
        half: compute in bf16, which CPUs with AMX do several times as fast; others are slower by it.
    """
    folder = items[0].array_path.parent / FOLDER
    folder.mkdir(exist_ok=True)
    shape = (len(items), (spec.n_steps + 1) // 2, net.embed.projection.in_features)
    copies, heard = [], []
    for number in range(1 + n_damaged):
        stem = folder / _digest(net, items, spec, number, seed, half)
        paths = [stem.with_suffix(suffix) for suffix in (".maps.npy", ".heard.npy", ".done.npy")]
        if not paths[2].is_file():
            for path, kind, n_axes in zip(paths, (np.float16, np.uint8, np.uint8), (3, 2, 1), strict=True):
                np.lib.format.open_memmap(path, "w+", kind, shape[:n_axes]).flush()
        wanted = np.flatnonzero(np.load(paths[2], mmap_mode="r") == 0)
        parts = [wanted[start : start + N_AT_ONCE] for start in range(0, len(wanted), N_AT_ONCE)]
        jobs = [([items[row] for row in part], part) for part in parts]
        maker = _Maker(net, spec, number, seed, half, paths)
        with tqdm(total=len(wanted), desc=f"maps, copy {number}", unit="clip", disable=not jobs) as bar:
            for n_made in _run(maker, jobs, n_workers):
                bar.update(n_made)
        copies.append(np.load(paths[0], mmap_mode="r"))
        heard.append(np.load(paths[1], mmap_mode="r"))
    return Maps(tuple(copies), tuple(heard))


@dataclass(frozen=True)
class _Maker:
    """Writes the maps of some clips where they belong; called in a process of its own."""

    net: SpectrumTransformerNet
    spec: AudioSpec
    number: int
    seed: int
    half: bool
    paths: Sequence[Path]

    def __call__(self, job: tuple[Sequence[PreparedClip], np.ndarray]) -> int:
        items, rows = job
        maps_file, heard_file, done_file = (np.load(path, mmap_mode="r+") for path in self.paths)
        examples = AudioExamples(items, self.spec, AudioTraining(undamaged_share=0.0 if self.number else 1.0))
        with torch.inference_mode():
            for item, row in zip(items, rows, strict=True):
                rng = np.random.default_rng([self.seed, int(row), self.number])
                features = examples.augmented(item, rng)[None]
                with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                    maps = self.net.local_steps(features)
                maps_file[row], heard_file[row] = maps[0].half().numpy(), heard_steps(features)[0].numpy()
                done_file[row] = 1
        return len(items)


def _run(maker: _Maker, jobs: Sequence[tuple], n_workers: int) -> Iterator[int]:
    if n_workers <= 1 or not jobs:
        yield from map(maker, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(n_workers, _begin, (maker,)) as pool:
        yield from pool.imap_unordered(_go_on, jobs)


def _begin(maker: _Maker) -> None:
    """In a new process: the network is sent there once, and not with every job."""
    global _maker
    _maker = maker
    torch.set_num_threads(1)


def _go_on(job: tuple[Sequence[PreparedClip], np.ndarray]) -> int:
    return _maker(job)


def _digest(
    net: SpectrumTransformerNet, items: Sequence[PreparedClip], spec: AudioSpec, number: int, seed: int, half: bool
) -> str:
    state = hashlib.sha256()
    for name, tensor in sorted(net.local.state_dict().items()):
        state.update(name.encode() + tensor.numpy().tobytes())
    code = "".join(inspect.getsource(module) for module in (sound, audio_codecs)) if number else ""
    names = [item.array_path.name for item in items]  # of the content, and of a vocoder's version
    record = [state.hexdigest(), names, str(spec), number, seed, half, code]
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class MapExamples:
    """Some rows of maps, as training draws them.

    Attributes:
        clips: of every row.
        maps: of all rows.
        rows: those that count here.
        weights: of every row, both classes alike.
    """

    clips: Sequence[Clip]
    maps: Maps
    rows: np.ndarray
    weights: np.ndarray

    def of(self, rows: np.ndarray) -> MapExamples:
        """Some of all rows."""
        return replace(self, rows=rows)

    @property
    def chances(self) -> np.ndarray:
        """Of each row that counts, to be drawn: they sum to 1, and half of that for each class."""
        labels = np.array([self.clips[row].label for row in self.rows])
        chances = self.weights[self.rows].copy()
        for label in (0, 1):
            chances[labels == label] /= 2 * chances[labels == label].sum() or 1.0
        return chances

    def inputs(self, row: int, number: int, steps: slice = slice(None)) -> np.ndarray:
        """Maps and, as a last column, what is heard, of one copy of one row: (S, channels * bins + 1) float32."""
        maps = self.maps.copies[number][row, steps].astype(np.float32)
        return np.concatenate([maps, self.maps.heard[number][row, steps, None].astype(np.float32)], axis=1)

    def statistics(
        self, net: SpectrumTransformerNet, *, half: bool = True
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Statistics of all copies, (n, n_statistics), their labels and weights (n,); `half` computes in bf16."""
        found, numbers = [], range(len(self.maps.copies))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            for start in tqdm(range(0, len(self.rows), N_AT_ONCE), "statistics", unit="batch"):
                rows = self.rows[start : start + N_AT_ONCE]
                inputs = torch.from_numpy(np.stack([self.inputs(row, n) for row in rows for n in numbers]))
                found.append(net.of_maps(inputs[..., :-1], inputs[..., -1]))
        labels = np.array([self.clips[row].label for row in self.rows])
        return torch.cat(found), np.repeat(labels, len(numbers)), np.repeat(self.chances, len(numbers))


class MapsNet(nn.Module):
    """A network without its convolutions, over maps: (B, S, channels * bins + 1) -> logits (B, 2), what is heard."""

    def __init__(self, net: SpectrumTransformerNet) -> None:
        super().__init__()
        self.net = net
        self.pretrained = tuple(f"net.{name}" for name in net.pretrained)
        net.local.requires_grad_(False)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heard = inputs[..., -1]
        return self.net.judge(self.net.of_maps(inputs[..., :-1], heard)), heard


class MapTask:
    """Draws, inputs and validation of `MapsNet`; see `training.loop.engine.Task`."""

    def __init__(
        self,
        heard: MapExamples,
        unheard: MapExamples,
        record: dict,
        shown_share: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.record = record
        self._heard, self._unheard = heard, unheard
        self._shown_share, self._batch_size, self._seed = shown_share, batch_size, seed

    def batches(self, epoch: int) -> MapBatches:
        rng = np.random.default_rng([self._seed, epoch])
        return MapBatches(self._heard, self._shown_share, self._batch_size, rng)

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        logits, clips = [], []
        with torch.inference_mode():
            for row in self._unheard.rows[part]:
                inputs = torch.from_numpy(self._unheard.inputs(row, 0))[None]
                logits.append(net(inputs)[0][0].double().numpy())
                clips.append(self._unheard.clips[row])
        return Scores(
            np.array(logits).reshape(-1, 2),
            np.array([clip.label for clip in clips], dtype=int),
            tuple(clip.group for clip in clips),
            tuple(clip.source for clip in clips),
        )

    def set_training(self, net: nn.Module) -> None:
        net.train()


class MapBatches:
    """As many windows as clips are heard, each a random copy, and of it a part from a random place on."""

    def __init__(self, heard: MapExamples, shown_share: float, batch_size: int, rng: np.random.Generator) -> None:
        self._heard, self._shown_share, self._batch_size, self._rng = heard, shown_share, batch_size, rng

    def __len__(self) -> int:
        return len(self._heard.rows) // self._batch_size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        heard, rng = self._heard, self._rng
        chances, n_steps = heard.chances, heard.maps.heard[0].shape[1]
        n_shown = max(1, round(self._shown_share * n_steps))
        for _ in range(len(self)):
            rows = rng.choice(heard.rows, self._batch_size, p=chances)
            inputs = []
            for row in rows:
                start = int(rng.integers(n_steps - n_shown + 1))
                number = int(rng.integers(len(heard.maps.copies)))
                inputs.append(heard.inputs(row, number, slice(start, start + n_shown)))
            labels = torch.tensor([heard.clips[row].label for row in rows])
            yield torch.from_numpy(np.stack(inputs)), labels
