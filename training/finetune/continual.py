"""Continual learning: teach a trained network new generators, and keep what it knows, by replay of the old clips.

    python -m training.finetune.continual weights/audio --dataset clips/ --new new_clips/ --save-path runs/new/model.pt
    python -m training.finetune.continual weights/audio --dataset clips/ --systems vall-e tortoise  # fakes train lacks

Half of each batch (--replay-share) is drawn from the old train clips, and there the loss is in part the distance from
what the old network said (--distillation): Z. Li, D. Hoiem, "Learning without forgetting" (2016), with the old clips at
hand. The other half are the new clips, beside real ones. The new clips are divided by group into those to learn from
and those to measure by. Printed are AUC and EER on old and on new clips, before and after; written are what every run
writes: checkpoints, history, artifacts, model card (see training.train_audio), and the metrics as .continual.json.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from model_defs.networks.audio_svm import KernelMachine
from model_defs.networks.weights import load_weights
from model_defs.spec import AudioSpec, InputSpec
from training.data.datasets import DatasetError, load_dataset
from training.data.prepared import DEFAULT_CACHE
from training.evaluation.scores import Scores, score_clips
from training.finetune.clips import (
    Clips,
    add_source_options,
    halve,
    head_parameters,
    load_net,
    metrics,
    new_clips,
    prepare_all,
    read_clips,
    seat,
    table,
)
from training.loop.checkpoint import RunError
from training.loop.distillation import distillation_loss, with_teacher, without_teacher
from training.loop.engine import Batches, Task, fit, seed_everything
from training.loop.train_config import TrainConfig
from training.run.lifecycle import command, export
from training.tasks.audio import AudioTask, AudioTraining
from training.tasks.video import VideoTask, VideoTraining

PARTS = ("all", "head")


@dataclass(frozen=True)
class ContinualConfig:
    """How new clips are learned.

    Attributes:
        replay_share: of each batch that old train clips make up, 0 to below 1; 0 forgets.
        distillation: weight of the old network's answer in the loss of old clips, 0 to 1; the rest is their label's.
        part: `all` of the network learns, or its `head`, the classifier.
        batch_size: examples in one step.
    """

    replay_share: float = 0.5
    distillation: float = 0.5
    part: str = "all"
    batch_size: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.replay_share < 1:
            raise RunError(f"replay_share is {self.replay_share}; it must lie in 0 <= x < 1")
        if not 0 <= self.distillation <= 1:
            raise RunError(f"distillation is {self.distillation}; it must lie in 0 <= x <= 1")
        if self.part not in PARTS:
            raise RunError(f"part is {self.part!r}; allowed: {', '.join(PARTS)}")

    @property
    def n_replayed(self) -> int:
        """Old examples in each batch."""
        return round(self.batch_size * self.replay_share)


class ReplayTask:
    """Batches of old and new examples; validation on both. See `training.loop.engine.Task`."""

    def __init__(
        self,
        network: str,
        spec: InputSpec,
        clips: Clips,
        teacher: nn.Module,
        replay: ContinualConfig,
        seed: int,
        n_workers: int = 0,
    ) -> None:
        self.replay, self.spec = replay, spec
        self.teacher = teacher.eval().requires_grad_(False)
        self.val = [*clips.old, *clips.held_out]
        learned = clips.learned
        if not any(item.clip.label == 0 for item in learned):  # else each new example would say "fake"
            learned = [*learned, *(item for item in clips.replay if item.clip.label == 0)]
        n_new = replay.batch_size - replay.n_replayed
        self._new = _task(network, spec, learned, n_new, seed, n_workers)
        replayed = (clips.replay, replay.n_replayed, seed + 1, n_workers)
        self._old = _task(network, spec, *replayed) if replay.n_replayed else None
        self.record = self._new.record

    def batches(self, epoch: int) -> Batches:
        old = self._old.batches(epoch) if self._old else None
        return _ReplayBatches(old, self._new.batches(epoch), self.teacher, self.replay.distillation)

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        return score_clips(net, self.val[part], self.spec)

    def set_training(self, net: nn.Module) -> None:
        self._new.set_training(net)
        if self.replay.part == "head":
            net.eval()
            net.classifier.train()


class _ReplayBatches:
    """Each batch of new examples beside one of old ones, for which the teacher's answer counts, too."""

    def __init__(self, old: Batches | None, new: Batches, teacher: nn.Module, distillation: float) -> None:
        self._old, self._new, self._teacher, self._distillation = old, new, teacher, distillation

    def __len__(self) -> int:
        return len(self._new) if self._old is None else min(len(self._old), len(self._new))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for old, (new, labels) in zip(self._old or repeat(None), self._new, strict=False):
            inputs, targets = [new], [without_teacher(labels)]
            if old is not None:
                with torch.no_grad():
                    said = self._teacher(old[0])[0].float()
                inputs, targets = [old[0], *inputs], [with_teacher(old[1], said, self._distillation), *targets]
            yield torch.cat(inputs), torch.cat(targets)


def _task(network: str, spec: InputSpec, clips: Sequence, batch_size: int, seed: int, n_workers: int) -> Task:
    """The modality's own task over some clips; frames are shown one by one, so that any two go into one batch."""
    if isinstance(spec, AudioSpec):
        training = AudioTraining(batch_size=batch_size, seed=seed, mixup_share=0.0, n_copies=1, n_workers=n_workers)
        return AudioTask(network, spec, clips, [], training)
    shared = {"batch_size": batch_size, "seed": seed, "n_workers": n_workers}
    frames = VideoTraining(n_frames=1, size_px=spec.size_px, freeze_batch_norm=True, **shared)
    return VideoTask(network, spec, clips, [], frames)


def learn(
    net: nn.Module,
    record: dict,
    spec: InputSpec,
    clips: Clips,
    replay: ContinualConfig,
    config: TrainConfig,
    save_path: Path,
    n_workers: int = 0,
) -> tuple[nn.Module, dict]:
    """Train, keep the best epoch by the AUC on old and new val clips together, and compare with the old network.

    Returns:
        The network that has learned, and `before` and `after`: see `training.finetune.clips.metrics`.
    """
    seed_everything(config.seed)
    before = metrics(net, clips, spec)
    task = ReplayTask(record["network"], spec, clips, copy.deepcopy(net), replay, config.seed, n_workers)
    if replay.part == "head":
        net.requires_grad_(False)
        for parameter in head_parameters(net.classifier):
            parameter.requires_grad_(True)
        if isinstance(net.classifier, KernelMachine):
            seat(net.classifier, read_clips(net, clips.learned, spec).vectors)
    fit(net, task, config, save_path, loss=partial(distillation_loss, label_smoothing=config.label_smoothing))
    taught = load_weights(save_path)[0]
    return taught, {"before": before, "after": metrics(taught, clips, spec)}


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune.continual",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_options(parser)
    add = parser.add_argument
    add("--replay-share", type=float, default=ContinualConfig.replay_share, help="of each batch; default: %(default)s")
    add("--distillation", type=float, default=ContinualConfig.distillation, help="weight, 0 to 1; default: %(default)s")
    add("--part", choices=PARTS, help="of the network that learns; default: all, of a kernel machine the head")
    add("--epochs", type=int, default=4, help="passes over the old train clips; default: %(default)s")
    add("--lr", type=float, help="peak learning rate; default: 3e-4 for all of the network, 1e-3 for the head")
    add("--batch-size", type=int, default=ContinualConfig.batch_size, help="default: %(default)s")
    add("--seed", type=int, default=0, help="of the division of the new clips, and of training")
    add("--save-path", type=Path, default=Path("runs/continual/model.pt"), help="default: %(default)s")
    add("--cache", type=Path, default=DEFAULT_CACHE, help="of prepared clips; default: %(default)s")
    add("--no-export", action="store_true", help="leave out artifacts and model card")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    net, record, spec = load_net(options.weights)
    dataset = load_dataset(options.dataset)
    new = new_clips(dataset, options.new, options.systems, with_test=options.with_test)
    learned, held_out = halve(new, options.seed)
    clips = prepare_all(dataset, learned, held_out, spec, options.cache, n_workers=max(1, options.workers))
    if not clips.learned or not clips.held_out:
        raise DatasetError("none of the new clips could be decoded on one side of their division")
    # What lies before a kernel machine was fitted in closed form, in units that no gradient step is meant for.
    part = options.part or ("head" if isinstance(net.classifier, KernelMachine) else "all")
    replay = ContinualConfig(options.replay_share, options.distillation, part, options.batch_size)
    lr = options.lr or {"all": 3e-4, "head": 1e-3}[part]
    config = TrainConfig(epochs=options.epochs, lr=lr, seed=options.seed)
    _, found = learn(net, record, spec, clips, replay, config, options.save_path, options.workers)
    print(f"{len(clips.learned)} new clips learned, {len(clips.held_out)} of other groups held out")
    print(table(found["before"], found["after"], clips))
    text = json.dumps({**vars(replay), **found}, indent=1) + "\n"
    options.save_path.with_suffix(".continual.json").write_text(text, encoding="utf-8")
    if not options.no_export:
        everything = [item.clip for part in (clips.replay, clips.old, clips.learned, clips.held_out) for item in part]
        export(options.save_path, everything, options.cache, n_workers=max(1, options.workers))


if __name__ == "__main__":
    command(main)
