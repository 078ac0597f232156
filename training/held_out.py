"""What a recipe is worth on forging systems and publishers that training does not hold.

    python -m training.held_out --config audio --dataset clips/

A published split often has the same systems in train and val: val then says how well forgeries are told that were met
before, and chooses recipes that remember them. Here train and val together are divided anew, a fold at a time, so that
neither system nor source nor person of the clips that are scored is in training. Test is not opened. For recipes of
`training.fit_audio`, which take seconds a fold.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from model_defs.registry import build_network
from training.data.datasets import Clip, select
from training.data.prepared import prepare
from training.evaluation.metrics import summarize
from training.evaluation.scores import score_clips
from training.fit_audio import KernelFit, collect, fit_network, options
from training.run.config import DataConfig, RunConfig, input_spec
from training.run.lifecycle import command

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


def main(argv: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Fit and score each fold as the arguments of `training.fit_audio` say; returns the figures of each."""
    settings = options().settings(argv)
    run, data, spec = settings.make(RunConfig), settings.make(DataConfig), input_spec(settings)
    how = settings.make(KernelFit)
    n_workers = max(1, run.workers)
    items = prepare(select(data.load(data.dataset), "train", "val"), spec, data.cache, n_workers=n_workers)
    net = build_network(settings["network"]).eval()
    examples = collect(net.statistics, items, spec, how, n_workers)
    found = []
    for number, (trained, scored) in enumerate(system_folds([item.clip for item in items])):
        fit_network(net, examples.of(trained), how)
        scores = score_clips(net, [items[index] for index in scored], spec)
        figures = summarize(scores.labels, scores.p_fake, scores.groups, n_resamples=0)
        found.append({name: figures[name].value for name in ("auc", "eer")})
        n_fake = int(scores.labels.sum())
        tqdm.write(
            f"fold {number + 1}: {len(trained)} trained on, {len(scores.labels) - n_fake} real and {n_fake} fake, "
            f"AUC {found[-1]['auc']:.3f}, EER {found[-1]['eer']:.3f}"
        )
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    print(f"systems and sources held out: AUC {means['auc']:.3f}, EER {means['eer']:.3f}, means of {len(found)} folds")
    return found


def _digest(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


if __name__ == "__main__":
    command(main)
