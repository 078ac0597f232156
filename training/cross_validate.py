"""Leave-generators-out cross-validation: what a recipe is worth on generators and publishers that are not trained on.

    python -m training.cross_validate --config audio --dataset clips/
    python -m training.cross_validate --config audio-light --teacher audio --dataset clips/

A published split often has the same systems in train and val: val then says how well forgeries are told that were met
before, and chooses recipes that remember them. Here train and val together are divided anew, a fold at a time, so that
neither system nor source nor person of the clips that are scored is in training. Test is not opened. For recipes of
`training.fit_audio`, which take seconds a fold.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from model_defs.networks.audio_svm import StatisticsNet
from model_defs.networks.registry import build_network
from model_defs.spec import AudioSpec
from training.compress.closed_form import fit_taught, half_difference, heard_by_both
from training.compress.distillation import Distillation
from training.data.datasets import Clip, select
from training.data.prepared import PreparedClip, prepare
from training.evaluation.metrics import summarize
from training.evaluation.scores import score_clips
from training.fit_audio import KernelFit, collect, fit_network
from training.run.config import DataConfig, RunConfig, audio_fit_parser, input_spec
from training.run.lifecycle import command
from training.run.options import OptionsParser, Section, Settings

N_FOLDS = 3
LARGE_SOURCE = 40  # real clips of one source above which its groups are dealt out
LARGE_GROUP = 25  # clips of one group (a voice that half of all demos use) that is trained on, and never scored as real


def system_folds(clips: Sequence[Clip], n_folds: int = N_FOLDS) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices (trained on, scored) of each fold; no source, system or group of a scored clip is trained on.

    Sources are dealt out so that folds hold as many real and fake clips each as can be. A system goes to the fold
    that most of its clips are in: those elsewhere are scored nowhere, and trained on where they may be. Two
    exceptions: of sources with many real clips the groups are dealt out, and large groups stay in training.
    """
    n_real = Counter(clip.source for clip in clips if clip.label == 0)
    units = [
        f"{clip.source}#{_digest(clip.group) % (2 * n_folds)}" if n_real[clip.source] > LARGE_SOURCE else clip.source
        for clip in clips
    ]
    sizes: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    for unit, clip in zip(units, clips, strict=True):
        sizes[unit][clip.label] += 1
    load, fold_of = np.zeros((n_folds, 2)), {}
    for unit in sorted(sizes, key=lambda name: (-sizes[name].sum(), _digest(name))):
        costs = ((load + sizes[unit]) ** 2).sum(axis=1) - (load**2).sum(axis=1)
        fold_of[unit] = int(np.argmin(costs))
        load[fold_of[unit]] += sizes[unit]
    own = np.array([fold_of[unit] for unit in units])
    votes: dict[str, Counter] = defaultdict(Counter)
    for clip, fold in zip(clips, own, strict=True):
        votes[clip.system][int(fold)] += clip.label
    label = np.array([clip.label for clip in clips])
    of_system = np.array([votes[clip.system].most_common(1)[0][0] if clip.label else -1 for clip in clips])
    group_sizes = Counter(clip.group for clip in clips)
    is_large = np.array([group_sizes[clip.group] > LARGE_GROUP for clip in clips])
    folds = []
    for fold in range(n_folds):
        scored = (own == fold) & np.where(label == 1, of_system == fold, ~is_large)
        groups = {clip.group for clip, taken, large in zip(clips, scored, is_large, strict=True) if taken and not large}
        met = np.array([clip.group in groups for clip in clips])
        trained = (own != fold) & (of_system != fold) & ~met
        folds.append((np.flatnonzero(trained), np.flatnonzero(scored)))
    return folds


@dataclass(frozen=True)
class Teaching:
    """Whom the network learns from beside the labels, as `training.compress distill` has it.

    Attributes:
        teacher: preset of training.fit_audio; its network is fitted to each fold first, and answers the same sound.
        teacher_weight: of its answers, 0 to 1; the labels have the rest.
    """

    teacher: str | None = None
    teacher_weight: float = Distillation.weight

    def __post_init__(self) -> None:
        if not 0 <= self.teacher_weight <= 1:
            raise ValueError(f"teacher_weight is {self.teacher_weight}; it must lie in 0 <= x <= 1")


def options() -> OptionsParser:
    """The options of `training.fit_audio`, and a teacher."""
    head, _, body = __doc__.partition("\n\n")
    return audio_fit_parser("fit_audio", KernelFit, [Section("teacher", Teaching)], description=head, epilog=body)


def main(argv: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Fit and score each fold as the arguments say; returns the metrics of each."""
    settings = options().settings(argv)
    run, data, spec = settings.make(RunConfig), settings.make(DataConfig), input_spec(settings)
    n_workers = max(1, run.workers)
    items = prepare(select(data.load(data.dataset), "train", "val"), spec, data.cache, n_workers=n_workers)
    net = build_network(settings["network"]).eval()
    fit_fold = _folds_fit(net, items, spec, settings, n_workers)
    found = []
    for number, (trained, scored) in enumerate(system_folds([item.clip for item in items])):
        fit_fold(trained)
        scores = score_clips(net, [items[index] for index in scored], spec)
        metrics = summarize(scores.labels, scores.p_fake, scores.groups, n_resamples=0)
        found.append({name: metrics[name].value for name in ("auc", "eer")})
        n_fake = int(scores.labels.sum())
        tqdm.write(
            f"fold {number + 1}: {len(trained)} trained on, {len(scores.labels) - n_fake} real and {n_fake} fake, "
            f"AUC {found[-1]['auc']:.3f}, EER {found[-1]['eer']:.3f}"
        )
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    print(f"systems and sources held out: AUC {means['auc']:.3f}, EER {means['eer']:.3f}, means of {len(found)} folds")
    return found


def _folds_fit(
    net: StatisticsNet, items: Sequence[PreparedClip], spec: AudioSpec, settings: Settings, n_workers: int
) -> Callable[[np.ndarray], None]:
    """What fits the network to the clips of those indices; statistics are taken once, for all folds."""
    how, teaching = settings.make(KernelFit), settings.make(Teaching)
    if teaching.teacher is None:
        examples = collect(net.statistics, items, spec, how, n_workers)
        return lambda trained: fit_network(net, examples.of(trained), how)
    of_teacher = options().settings(["--config", teaching.teacher, "--dataset", str(settings["dataset"])])
    teacher, how_teacher = build_network(of_teacher["network"]).eval(), of_teacher.make(KernelFit)
    both = heard_by_both(teacher.statistics, input_spec(of_teacher), net, spec, items, how, n_workers)

    def fit_fold(trained: np.ndarray) -> None:
        known, own = (one.of(trained) for one in both)
        fit_network(teacher, known, how_teacher)
        with torch.inference_mode():
            logits = teacher.judge(known.statistics)
        fit_taught(net, own, half_difference(logits).double().numpy(), how, teaching.teacher_weight)

    return fit_fold


def _digest(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


if __name__ == "__main__":
    command(main)
