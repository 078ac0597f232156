"""What continual and few-shot learning need: the old clips, the new ones, and how well a network does on each."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from model_defs.errors import DetectionError
from model_defs.networks.audio_svm import KernelMachine
from model_defs.networks.weights import load_weights
from model_defs.spec import LABELS, InputSpec, spec_from_dict
from training.data.clip import Clip, DatasetError
from training.data.datasets import load_dataset, select
from training.data.prepared import PreparedClip, prepare
from training.evaluation.metrics import summarize
from training.evaluation.scores import Scores, clip_inputs, score_clips
from training.run.config import RunConfig

MEASURES = ("auc", "eer")


@dataclass(frozen=True)
class Clips:
    """Clips of old and new systems, prepared for one network.

    Attributes:
        replay: train clips of what the network knows.
        old: val clips of that.
        learned: new clips to learn from.
        held_out: new clips of other groups, to measure by.
    """

    replay: list[PreparedClip]
    old: list[PreparedClip]
    learned: list[PreparedClip]
    held_out: list[PreparedClip]

    @property
    def new_beside_real(self) -> list[PreparedClip]:
        """What "new" is measured on: the held-out new clips, and where they are all fake, the real clips of val."""
        has_real = any(item.clip.label == 0 for item in self.held_out)
        return self.held_out if has_real else [*self.held_out, *(item for item in self.old if item.clip.label == 0)]


def add_source_options(parser: ArgumentParser) -> None:
    """What is to learn, and from which clips: `weights`, and what `load_dataset` and `new_clips` are asked for."""
    add = parser.add_argument
    add("weights", type=Path, help="folder of published weights, or a checkpoint")
    add("--dataset", type=Path, required=True, help="the data set that they were trained on")
    add("--new", type=Path, metavar="DIR", help="a data set of new clips")
    add(
        "--workers",
        type=_count,
        default=RunConfig.workers,
        metavar="N",
        help="processes that make examples, and threads that decode; default: %(default)s",
    )
    add("--systems", nargs="+", default=(), metavar="NAME", help="instead: systems of val clips that train lacks")
    add(
        "--with-test",
        action="store_true",
        help="and of test clips: to demonstrate, once; never to publish",
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def load_net(weights: Path) -> tuple[nn.Module, dict, InputSpec]:
    """The network, its record and its input, of a folder of published weights, a weight file or a checkpoint."""
    net, record = load_weights(weights / "model.safetensors" if weights.is_dir() else weights)
    return net, record, spec_from_dict(record["spec"])


def head_parameters(classifier: nn.Module) -> list[nn.Parameter]:
    """What is adapted of a classifier: all of it; of a kernel machine its dual coefficients and bias."""
    if isinstance(classifier, KernelMachine):
        return [classifier.dual_coefficients, classifier.bias]
    return list(classifier.parameters())


def seat(machine: KernelMachine, points: Tensor) -> int:
    """Put points (n, n_axes) where support vectors have coefficients of zero; returns how many found a place."""
    with torch.no_grad():
        free = torch.nonzero(machine.dual_coefficients.abs().sum(1) == 0).flatten()[: len(points)]
        machine.support_vectors[free] = points[: len(free)]
    return len(free)


def new_clips(
    dataset: Sequence[Clip], new: Path | None, systems: Sequence[str], *, with_test: bool = False
) -> list[Clip]:
    """The clips of a folder, or the val fakes of the named systems in the data set.

    Args:
        with_test: take their test clips, too. What is learned from those must not be measured on test, nor published.

    Raises:
        DatasetError: a system is not there, is in train already, or neither way is used.
    """
    if bool(new) == bool(systems):
        raise DatasetError("name the new clips one way: a folder of their own, or the systems that made them")
    if new:
        return load_dataset(new)
    splits = ("val", "test") if with_test else ("val",)
    known = {clip.system for clip in select(dataset, "train") if clip.label == 1}
    fakes = [clip for clip in select(dataset, *splits) if clip.label == 1 and clip.system and clip.system not in known]
    allowed = sorted({clip.system for clip in fakes})
    if unknown := sorted(set(systems) - set(allowed)):
        raise DatasetError(
            f"no {' or '.join(splits)} clip is a fake of {', '.join(unknown)} that train does not know; "
            f"such systems: {', '.join(allowed) or 'none'}"
        )
    return [clip for clip in fakes if clip.system in systems]


def halve(clips: Sequence[Clip], seed: int = 0, n_first: int | None = None) -> tuple[list[Clip], list[Clip]]:
    """The clips in two parts without a group in common; the same seed gives the same.

    Args:
        n_first: groups go to the first part until it has so many clips; None: half of them.

    Raises:
        DatasetError: there is only one group.
    """
    wanted = len(clips) / 2 if n_first is None else n_first
    groups = sorted({clip.group for clip in clips})
    first: list[Clip] = []
    for group in np.random.default_rng(seed).permutation(groups):
        members = [clip for clip in clips if clip.group == group]
        if len(first) < wanted and len(first) + len(members) < len(clips):
            first += members if n_first is None else members[: max(0, n_first - len(first))]
    used = {clip.group for clip in first}
    second = [clip for clip in clips if clip.group not in used]
    if not first or not second:
        raise DatasetError("the new clips are of one group; learning and measuring need different ones")
    return first, second


def prepare_all(
    dataset: Sequence[Clip], learned: Sequence[Clip], held_out: Sequence[Clip], spec: InputSpec, cache: Path, **extra
) -> Clips:
    """Everything decoded; new clips are train and val clips from here on."""
    parts = {
        "replay": select(dataset, "train"),
        "old": _without(select(dataset, "val"), [*learned, *held_out]),
        "learned": [replace(clip, split="train") for clip in learned],
        "held_out": [replace(clip, split="val") for clip in held_out],
    }
    prepared = prepare([clip for part in parts.values() for clip in part], spec, cache, **extra)
    by_path = {item.clip.path: item for item in prepared}
    return Clips(**{name: [by_path[one.path] for one in part if one.path in by_path] for name, part in parts.items()})


def _without(clips: Sequence[Clip], others: Sequence[Clip]) -> list[Clip]:
    taken = {clip.path for clip in others}
    return [clip for clip in clips if clip.path not in taken]


@dataclass(frozen=True)
class Read:
    """What the classifier reads of clips: the mean over windows or frames, and whose it is.

    Attributes:
        vectors: (n, D).
        labels: (n,) int64.
        clips: n of them.
    """

    vectors: Tensor
    labels: Tensor
    clips: tuple[Clip, ...]

    @property
    def groups(self) -> list[str]:
        return [clip.group for clip in self.clips]

    def pick(self, chosen: Sequence[int] | np.ndarray) -> Read:
        """Some of them, by number."""
        chosen = np.asarray(chosen, dtype=int)
        return Read(self.vectors[chosen], self.labels[chosen], tuple(self.clips[index] for index in chosen))

    def of(self, paths: set[Path]) -> Read:
        """Those of these files."""
        return self.pick([index for index, clip in enumerate(self.clips) if clip.path in paths])


def read_clips(net: nn.Module, items: Sequence[PreparedClip], spec: InputSpec) -> Read:
    """Run the network once over each clip; one that serving would refuse is left out."""
    seen: list[Tensor] = []
    hook = net.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    vectors, kept, make_inputs = [], [], clip_inputs(spec)
    try:
        for item in tqdm(items, "read", unit="clip", leave=False):
            try:
                inputs = make_inputs(item)
            except DetectionError:
                continue
            with torch.no_grad():
                net(inputs)
            vectors.append(seen.pop().flatten(0, -2).mean(0))
            kept.append(item.clip)
    finally:
        hook.remove()
    labels = torch.tensor([clip.label for clip in kept])
    return Read(torch.stack(vectors), labels, tuple(kept))


def metrics(net: nn.Module, clips: Clips, spec: InputSpec) -> dict[str, dict]:
    """`old` and `new` -> measure -> value, low, high, by a bootstrap over groups."""
    found = {}
    for name, items in {"old": clips.old, "new": clips.new_beside_real}.items():
        found[name] = measured(score_clips(net, items, spec))
    return found


def measured(scores: Scores, n_resamples: int = 1_000) -> dict:
    """Measure -> value, low, high."""
    estimates = summarize(scores.labels, scores.p_fake, scores.groups, measures=MEASURES, n_resamples=n_resamples)
    return {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in estimates.items()}


def table(before: Mapping, after: Mapping, clips: Clips) -> str:
    """Before and after, as text."""
    lines = [f"{'clips':28} {'measure':8} {'before':>22} {'after':>22}"]
    for name, items in {"old": clips.old, "new": clips.new_beside_real}.items():
        n_fake = sum(item.clip.label for item in items)
        for measure in MEASURES:
            cells = [
                f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
                for one in (before[name][measure], after[name][measure])
            ]
            lines.append(
                f"{f'{name}: {len(items)}, {n_fake} {LABELS[1]}':28} {measure:8} {cells[0]:>22} {cells[1]:>22}"
            )
    return "\n".join(lines)
