"""Fit the audio network over statistics, in closed form.

python -m training.fit_audio --dataset clips/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.svm import SVC
from tqdm import tqdm

from model_defs.networks.audio_svm import KernelMachine, StatisticsNet
from model_defs.networks.registry import build_network
from model_defs.spec import LABELS, AudioSpec, spec_to_dict
from training.augmentation.vocoded import vocoded_copies
from training.data.datasets import select
from training.data.prepared import PreparedClip
from training.evaluation.metrics import summarize
from training.evaluation.scores import score_clips
from training.loop import checkpoint
from training.loop.checkpoint import RunError
from training.loop.engine import seed_everything
from training.run.config import SETTINGS_SUFFIX, DataConfig, RunConfig, audio_fit_parser, input_spec
from training.run.lifecycle import command, export, prepared_splits, report
from training.run.options import OptionsParser
from training.tasks.audio import AudioExamples, AudioTraining

EPILOG = """examples:
  what is served:
    %(prog)s --config audio --dataset clips/
  with your own real clips vocoded more often, and no other vocoder:
    %(prog)s --config audio --dataset clips/ --vocoded-share 0.3 --vocoders mel
  a light one, alone (python -m training.compress distill gives it a teacher):
    %(prog)s --config audio-light --dataset clips/

There are no epochs: statistics are taken of every clip as it is, of damaged copies of it, and of real clips that were
taken apart and put together again (training/augmentation/vocoders.py); a support vector machine over them is solved
at once. Minutes on one core for a thousand clips. Beside --save-path lies what training leaves, with a history of one
line.
"""


@dataclass(frozen=True)
class Copies:
    """What a network is fitted to beside the clips as they are.

    Attributes:
        n_damaged: copies of each clip that are degraded as in training by epochs, beside the clip as it is.
        vocoded_share: weight of vocoded real clips among the fakes, 0 to 1; see `training.augmentation.vocoders`.
        vocoders: that make them.
        seed: of damage and vocoders.
    """

    n_damaged: int = 2
    vocoded_share: float = 0.25
    vocoders: tuple[str, ...] = ("mel",)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.vocoded_share < 1:
            raise ValueError(f"vocoded_share is {self.vocoded_share}; it must lie in 0 <= x < 1")
        if self.n_damaged < 0:
            raise ValueError(f"n_damaged is {self.n_damaged}; it must not be negative")


@dataclass(frozen=True)
class KernelFit(Copies):
    """What the machine is fitted to.

    Attributes:
        n_damaged: copies of each clip that are degraded as in training by epochs, beside the clip as it is.
        vocoded_share: weight of vocoded real clips among the fakes, 0 to 1; see `training.augmentation.vocoders`.
        vocoders: that make them.
        seed: of damage and vocoders.
        gamma: of the kernel; at 1 its exponent is the mean squared difference of the statistics.
        c: of each support vector that is on the wrong side (C).
        seed: of damage and vocoders.
    """

    n_damaged: int = 2
    vocoded_share: float = 0.25
    vocoders: tuple[str, ...] = ("mel",)
    gamma: float = 2.0
    c: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.vocoded_share < 1:
            raise ValueError(f"vocoded_share is {self.vocoded_share}; it must lie in 0 <= x < 1")
        if self.n_damaged < 0 or not min(self.c, self.gamma) > 0:
            raise ValueError("n_damaged must not be negative, and gamma and c must be above 0")


@dataclass(frozen=True)
class Examples:
    """Inputs of the machine: statistics (n, n_statistics); labels, weights and index of the clip each is of, (n,)."""

    statistics: torch.Tensor
    labels: np.ndarray
    weights: np.ndarray
    clips: np.ndarray

    def of(self, clips: Sequence[int]) -> Examples:
        """Those of some clips, in which both classes weigh alike again."""
        kept = np.isin(self.clips, clips)
        labels, weights = self.labels[kept], self.weights[kept].copy()
        for label in (0, 1):
            weights[labels == label] /= weights[labels == label].sum() or 1.0
        return Examples(self.statistics[torch.from_numpy(kept)], labels, weights, self.clips[kept])


def options() -> OptionsParser:
    """The options of this script."""
    return audio_fit_parser("fit_audio", KernelFit, description=__doc__.split("\n\n")[0], epilog=EPILOG)


def main(argv: Sequence[str] | None = None) -> Path:
    """Fit as the arguments say; returns the path of the checkpoint."""
    settings = options().settings(argv)
    run, data, spec = settings.make(RunConfig), settings.make(DataConfig), input_spec(settings)
    if run.device not in (None, "cpu"):
        raise RunError(f"device is {run.device}; a closed form is solved on the CPU, so allowed: cpu")
    n_workers = max(1, run.workers)
    clips = data.load(data.dataset)
    train, val = prepared_splits(clips, data, spec, n_workers=n_workers)
    seed_everything(run.seed)
    net = build_network(settings["network"]).eval()
    how = settings.make(KernelFit)
    fit_network(net, collect(net.statistics, train, spec, how, n_workers), how)
    run.save_path.parent.mkdir(parents=True, exist_ok=True)
    run.save_path.with_suffix(SETTINGS_SUFFIX).write_text(settings.to_yaml(), encoding="utf-8")
    scores = score_clips(net, val, spec, show_progress=True)
    metrics = summarize(scores.labels, scores.p_fake, scores.groups, n_resamples=0)
    found = {"epoch": 1, "val_loss": scores.loss} | {f"val_{name}": one.value for name, one in metrics.items()}
    record = {"network": settings["network"], "spec": spec_to_dict(spec), "labels": list(LABELS), "epoch": 1}
    checkpoint.write({**record, "val": found, "state": net.state_dict()}, run.save_path)
    run.save_path.with_suffix(".history.json").write_text(json.dumps([found], indent=1) + "\n", encoding="utf-8")
    report(run.save_path, val, "cpu")
    if run.export:
        export(run.save_path, select(clips, "train", "val"), data.cache, n_workers=n_workers)
    return run.save_path


def collect(
    listen: Callable[[torch.Tensor], torch.Tensor],
    train: Sequence[PreparedClip],
    spec: AudioSpec,
    how: KernelFit,
    n_workers: int = 1,
    make_examples: Callable[..., AudioExamples] = AudioExamples,
) -> Examples:
    """The statistics of every clip, as it is and damaged, and of vocoded copies of the real ones.

    Both classes weigh alike, and so do the clips of one class.

    Args:
        listen: what is kept of a window: its features (1, ...) -> (1, n_statistics).
        train: clips.
        spec: of the features.
        how: copies, vocoders and seed.
        n_workers: that make vocoded copies.
        make_examples: gives the features.
    """
    items = weighted_items(train, how, spec.rate_hz, n_workers)
    makers = [make_examples(train, spec, AudioTraining(undamaged_share=whole)) for whole in (1.0, 0.0)]
    statistics, labels, weights, of_clip = [], [], [], []
    with torch.inference_mode():
        for index, (item, weight, origin) in enumerate(tqdm(items, "statistics", unit="clip")):
            for number in range(1 + how.n_damaged):
                rng = np.random.default_rng([how.seed, index, number])
                features = makers[min(number, 1)].augmented(item, rng)
                statistics.append(listen(features[None])[0])
                labels.append(item.clip.label)
                weights.append(weight / (1 + how.n_damaged))
                of_clip.append(origin)
    return Examples(torch.stack(statistics), np.array(labels), np.array(weights), np.array(of_clip))


def weighted_items(
    train: Sequence[PreparedClip], how: Copies, rate_hz: int, n_workers: int = 1
) -> list[tuple[PreparedClip, float, int]]:
    """Every clip and each vocoded copy of a real one, its weight, and the index of the clip that it is of.

    Both classes weigh 1, and the clips of one class alike.
    """
    real = [item for item in train if item.clip.label == 0]
    copies: list[PreparedClip] = []
    if how.vocoded_share:
        by_clip = vocoded_copies(real, how.vocoders, rate_hz, n_workers=n_workers)
        copies = [copy for by_name in by_clip for copy in by_name.values()]
    share = {0: 1 / len(real), 1: (1 - (how.vocoded_share if copies else 0)) / (len(train) - len(real))}
    items = [(item, share[item.clip.label], index) for index, item in enumerate(train)]
    origins = [index for index, item in enumerate(train) if item.clip.label == 0 for _ in how.vocoders]
    items += [(copy, how.vocoded_share / len(copies), index) for copy, index in zip(copies, origins, strict=False)]
    return items


def fit_network(net: StatisticsNet, examples: Examples, how: KernelFit) -> None:
    """Set every weight of the network.

    Of more examples than it has support_vectors a part is drawn, by weight.
    """
    rows = draw_rows(examples, len(net.classifier.support_vectors), how.seed)
    found, labels, weights = examples.statistics[rows], examples.labels[rows], examples.weights[rows]
    points = set_axes(net, found, how)
    machine = SVC(C=how.c, gamma=1.0).fit(points, labels, sample_weight=weights / weights.mean())
    set_machine(net.classifier, machine.support_vectors_, machine.dual_coef_[0], machine.intercept_[0])
    tqdm.write(f"{len(rows)} examples, {len(machine.support_)} support vectors")


def draw_rows(examples: Examples, n_rows: int, seed: int) -> np.ndarray:
    """Indices of all examples in order or, where there are more than `n_rows`, of so many drawn by weight."""
    rows = np.arange(len(examples.labels))
    if len(rows) <= n_rows:
        return rows
    chances = examples.weights / examples.weights.sum()
    return np.sort(np.random.default_rng(seed).choice(rows, n_rows, replace=False, p=chances))


def set_axes(net: StatisticsNet, statistics: torch.Tensor, how: KernelFit) -> np.ndarray:
    """Set the standardization and the principal axes; returns the statistics on those axes, (n, n_axes).

    The axes are scaled by the kernel's gamma: its exponent is the squared distance of what comes out.
    """
    net.standardize.running_mean.copy_(statistics.mean(0))
    net.standardize.running_var.copy_(statistics.var(0))
    points = net.standardized(statistics).numpy()
    n_axes = net.projection.out_features
    axes = PCA(min(n_axes, *points.shape), svd_solver="randomized", random_state=how.seed).fit(points)
    matrix = np.zeros((n_axes, points.shape[1]), np.float32)
    matrix[: len(axes.components_)] = axes.components_ * (how.gamma / points.shape[1]) ** 0.5
    bias = -matrix @ axes.mean_.astype(np.float32)
    with torch.no_grad():
        net.projection.weight.copy_(torch.from_numpy(matrix))
        net.projection.bias.copy_(torch.from_numpy(bias))
    tqdm.write(f"the axes hold {axes.explained_variance_ratio_.sum():.0%} of the variance")
    return points @ matrix.T + bias


def set_machine(
    machine: KernelMachine, support_vectors: np.ndarray, dual_coefficients: np.ndarray, bias: float
) -> None:
    """Support vectors (n, n_axes), their dual coefficients (n,) towards fake, and the bias; spare rows weigh nothing.

    What they sum to is half the difference of the logits, as the margin of a support vector machine.
    """
    n_used = len(support_vectors)
    pull = torch.from_numpy(dual_coefficients).float()
    with torch.no_grad():
        machine.support_vectors.zero_()
        machine.support_vectors[:n_used] = torch.from_numpy(support_vectors).float()
        machine.dual_coefficients.zero_()
        machine.dual_coefficients[:n_used] = torch.stack([-pull, pull], dim=1)
        machine.bias.copy_(torch.tensor([-1.0, 1.0]) * float(bias))


if __name__ == "__main__":
    command(main)
