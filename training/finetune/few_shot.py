"""Adapt a trained network to a new generator from 10 to 20 of its clips: the classifier alone, in seconds.

    python -m training.finetune.few_shot weights/audio --dataset clips/ --new new_clips/ --shots 10 20
    python -m training.finetune.few_shot weights/audio --dataset clips/ --systems vall-e --save-path runs/few/model.pt

What the classifier reads is computed once a clip. It is then fitted to the shots beside the replayed train clips, whose
target is in part what it said before (as in training.finetune.continual); the rate is that of RATES with the lowest
cost on shots and old clips left out in turns. That is repeated over draws of shots by group, and measured on the new
clips of other groups and on old val clips: printed are means and standard deviations over draws, with
the adaptation and without.
With --save-path the classifier of the first draw of the most shots is kept, for training.publish.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from model_defs.networks.audio_svm import KernelMachine
from training.data.datasets import Clip, load_dataset
from training.data.prepared import DEFAULT_CACHE
from training.evaluation.metrics import equal_error_rate
from training.finetune.clips import (
    Read,
    add_source_options,
    halve,
    head_parameters,
    load_net,
    new_clips,
    prepare_all,
    read_clips,
    seat,
)
from training.loop.checkpoint import write as write_checkpoint
from training.loop.distillation import distillation_losses, with_teacher, without_teacher
from training.run.lifecycle import command

RATES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3)  # 0 leaves the classifier as it is, where shots left out gain nothing
SHOT_SHARE = 0.25  # of the cost; the rest is the replayed clips'
N_STEPS = 60  # of Adam on all clips at once
N_FOLDS = 3
DISTILLATION = 0.5  # weight of the old answer in the cost of a replayed clip


def adapt(classifier: nn.Module, shots: Read, replay: Read, rate: float) -> nn.Module:
    """A classifier fitted to the shots beside the replayed clips; the classes of each weigh alike.

    A kernel machine gets the shots as support_vectors, and its dual_coefficients alone are fitted.

    Args:
        classifier: left as it is.
        shots: fakes of the new system, or clips of both classes.
        rate: of Adam; 0 leaves all as it is.
    """
    adapted = copy.deepcopy(classifier).eval()  # without dropout: the same clips give the same classifier
    if not rate:
        return adapted
    with torch.no_grad():
        said = classifier.eval()(replay.vectors)
    targets = torch.cat([with_teacher(replay.labels, said, DISTILLATION), without_teacher(shots.labels)])
    vectors = torch.cat([replay.vectors, shots.vectors])
    shares = ((1 - SHOT_SHARE, replay), (SHOT_SHARE, shots))
    weights = torch.cat([share * _class_weights(part.labels) for share, part in shares])
    head = adapted
    if isinstance(adapted, KernelMachine):
        seat(adapted, shots.vectors)
        with torch.no_grad():
            vectors = adapted.kernel(vectors)
        head = lambda kernel: kernel @ adapted.dual_coefficients + adapted.bias  # noqa: E731 - the rest, computed anew each step
    optimizer = torch.optim.Adam(head_parameters(adapted), lr=rate)
    for _ in range(N_STEPS):
        cost = distillation_losses(head(vectors), targets)
        optimizer.zero_grad(set_to_none=True)
        (cost * weights).sum().backward()
        optimizer.step()
    return adapted


def choose_rate(classifier: nn.Module, shots: Read, replay: Read) -> float:
    """The rate with the lowest mean cost on shots and on old clips, each left out in turns by group."""
    n_folds = min(N_FOLDS, len(set(shots.groups)))
    if n_folds < 2:
        return RATES[1]
    of_shots, of_replay = (
        list(GroupKFold(n_folds).split(part.vectors, groups=part.groups)) for part in (shots, replay)
    )
    costs = dict.fromkeys(RATES, 0.0)
    for (seen, left), (old_seen, old_left) in zip(of_shots, of_replay, strict=True):
        for rate in RATES:
            adapted = adapt(classifier, shots.pick(seen), replay.pick(old_seen), rate)
            costs[rate] += _cost(adapted, shots.pick(left)) + _cost(adapted, replay.pick(old_left))
    return min(costs, key=costs.get)


def _cost(classifier: nn.Module, read: Read) -> float:
    with torch.no_grad():
        cost = functional.cross_entropy(classifier(read.vectors), read.labels, reduction="none")
    return float((cost * _class_weights(read.labels)).sum())


def _class_weights(labels: Tensor) -> Tensor:
    """Of each clip, together 1, the classes that are there alike."""
    counts = torch.bincount(labels, minlength=2).float()
    return 1 / counts[labels] / (counts > 0).sum()


def worth(classifier: nn.Module, fakes: Read, beside: Read) -> tuple[float, float]:
    """AUC and EER on clips, `beside` giving what class they lack."""
    both = [fakes, beside]
    with torch.no_grad():
        logits = torch.cat([classifier(read.vectors) for read in both])
    labels = torch.cat([read.labels for read in both]).numpy()
    margin = (logits[:, 1] - logits[:, 0]).numpy()
    return float(roc_auc_score(labels, margin)), equal_error_rate(labels, margin)


def draw(new: Sequence[Clip], n_shots: int, seed: int) -> tuple[set[Path], set[Path]]:
    """The files of so many shots, and those of the new clips of other groups."""
    shots, rest = halve(new, seed, n_first=n_shots)
    return {clip.path for clip in shots}, {clip.path for clip in rest}


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune.few_shot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_options(parser)
    add = parser.add_argument
    add("--shots", type=int, nargs="+", default=[10, 20], metavar="N", help="clips to adapt to; default: 10 20")
    add("--draws", type=int, default=10, metavar="N", help="of the shots; default: %(default)s")
    add("--save-path", type=Path, help="keep an adapted checkpoint here")
    add("--cache", type=Path, default=DEFAULT_CACHE, help="of prepared clips; default: %(default)s")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    net, record, spec = load_net(options.weights)
    dataset = load_dataset(options.dataset)
    new = new_clips(dataset, options.new, options.systems, with_test=options.with_test)
    clips = prepare_all(dataset, new, [], spec, options.cache, n_workers=max(1, options.workers))
    replay, old = (read_clips(net, items, spec) for items in (clips.replay, clips.old))
    classifier = net.classifier.eval()
    read = read_clips(net, clips.learned, spec)
    real = old.pick(np.flatnonzero(old.labels == 0))
    none = old.pick([])
    print(
        f"{len(new)} new clips of {len({clip.group for clip in new})} groups; {options.draws} draws; mean (deviation)"
    )
    print(f"{'shots':>6} {'':8} {'new AUC':>15} {'new EER':>15} {'old AUC':>15} {'old EER':>15}  rates")
    kept = None
    for n_shots in options.shots:
        rows: dict[str, list[tuple[float, ...]]] = {"without": [], "with": []}
        rates = []
        for seed in tqdm(range(options.draws), f"{n_shots} shots", unit="draw", leave=False):
            drawn, held_out = draw(new, n_shots, seed)
            shots, rest = read.of(drawn), read.of(held_out)
            rates.append(choose_rate(classifier, shots, replay))
            adapted = adapt(classifier, shots, replay, rates[-1])
            beside = none if (rest.labels == 0).any() else real
            for name, one in (("without", classifier), ("with", adapted)):
                rows[name].append((*worth(one, rest, beside), *worth(one, old, none)))
            kept = adapted if seed == 0 else kept
        for name, values in rows.items():
            cells = [f"{mean:.3f} ({sd:.3f})" for mean, sd in zip(np.mean(values, 0), np.std(values, 0), strict=True)]
            chosen = " ".join(f"{rate:g}" for rate in sorted(set(rates))) if name == "with" else ""
            print(f"{n_shots:6} {name:8} " + " ".join(f"{cell:>15}" for cell in cells) + f"  {chosen}")
    if options.save_path:
        net.classifier.load_state_dict(kept.state_dict())
        options.save_path.parent.mkdir(parents=True, exist_ok=True)
        known = {key: record[key] for key in ("network", "spec", "labels")}
        write_checkpoint({**known, "epoch": 0, "state": net.state_dict()}, options.save_path)
        print(f"kept: {options.save_path}; python -m training.publish {options.save_path} makes it servable")


if __name__ == "__main__":
    command(main)
