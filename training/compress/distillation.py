"""Distillation: a small network learns from the labels and from what a large one makes of the same input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_defs.decoding.media import AudioSegment
from model_defs.spec import AudioSpec, InputSpec, VideoSpec, spec_to_dict
from training.evaluation.scores import Scores, score_clips
from training.loop.checkpoint import RunError
from training.loop.distillation import distillation_loss, with_teacher
from training.loop.engine import Batches, Loss, Task
from training.run.lifecycle import Prepared
from training.tasks.audio import AudioExamples, AudioTask, AudioTraining, shown_steps

# What the networks of one batch are fed: (inputs of the task) -> (the teacher's, the student's).
Views = Callable[[Tensor], tuple[Tensor, Tensor]]
_SOUND_FIELDS = ("rate_hz", "window_s", "max_windows", "trim_db", "level_dbfs", "min_speech_s")


@dataclass(frozen=True)
class Distillation:
    """How much the student heeds its teacher; see `training.loop.distillation`.

    Attributes:
        temperature: both networks' logits are divided by it; the higher, the more the small probabilities tell.
        weight: of the teacher's part of the loss; the labels have the rest.
    """

    temperature: float = 2.0
    weight: float = 0.7

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight is {self.weight}; it must lie in 0 <= x <= 1")


class TeacherEnsemble(nn.Module):
    """The mean logits of several networks that see the same crops, each at the size it was trained at.

    Args:
        members: networks with their inputs; all but `size_px` must be alike.

    Raises:
        RunError: an input differs in more, or is larger than the first one's.
    """

    def __init__(self, members: Sequence[tuple[nn.Module, VideoSpec]]) -> None:
        super().__init__()
        first = members[0][1]
        for _, spec in members:
            require_same_media(first, spec, "another teacher")
        self.nets = nn.ModuleList(net for net, _ in members)
        self.shares = [spec.size_px / first.size_px for _, spec in members]

    def forward(self, frames: Tensor) -> tuple[Tensor, None]:
        """(B, T, 3, S, S) of the first member's size -> logits (B, 2), and no attention."""
        logits = [net(_shrunk(frames, share))[0] for net, share in zip(self.nets, self.shares, strict=True)]
        return torch.stack(logits).mean(0), None


class DistillationTask:
    """The training of a student; see `training.loop.engine.Task`. Use `loss` with it.

    Args:
        task: gives the batches, of which both networks are shown the same examples.
        views: what each of them is fed of these.
        teacher: in eval mode, where the student is trained.
        network: the student's key in NETWORKS.
        spec: the student's input.
        val: clips prepared for that spec.
        how: temperature and weight.
    """

    def __init__(
        self,
        task: Task,
        views: Views,
        teacher: nn.Module,
        network: str,
        spec: InputSpec,
        val: Prepared,
        how: Distillation,
    ) -> None:
        self.task, self.views, self.teacher = task, views, teacher.eval()
        self.spec, self.val, self.how = spec, val, how
        self.record = {**task.record, "network": network, "spec": spec_to_dict(spec)}

    def batches(self, epoch: int) -> Batches:
        return _TaughtBatches(self.task.batches(epoch), self.views, self.teacher, self.how.weight)

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        device = str(next(net.parameters()).device)
        return score_clips(net, self.val[part], self.spec, device, show_progress=True)

    def set_training(self, net: nn.Module) -> None:
        self.task.set_training(net)

    def loss(self, label_smoothing: float) -> Loss:
        """What the engine is to minimise."""
        return partial(distillation_loss, temperature=self.how.temperature, label_smoothing=label_smoothing)


class _TaughtBatches:
    """Batches with the teacher's logits beside the labels."""

    def __init__(self, batches: Batches, views: Views, teacher: nn.Module, weight: float) -> None:
        self._batches, self._views, self._teacher, self._weight = batches, views, teacher, weight

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        device = next(self._teacher.parameters()).device
        for inputs, labels in self._batches:
            of_teacher, of_student = self._views(inputs.to(device))
            with torch.no_grad():
                logits = self._teacher(of_teacher)[0].float()
            yield of_student, with_teacher(labels.to(device), logits, self._weight)


def shared_views(teacher: InputSpec, student: InputSpec, train: Prepared, task: Task) -> tuple[Task, Views]:
    """The task and the views of it that show two networks of different inputs the same augmented media.

    Args:
        teacher: its input.
        student: its input; for video it may have another size, for sound another front end.
        train: clips prepared for the teacher.
        task: the teacher's training.

    Raises:
        RunError: the inputs differ in more than that.
    """
    require_same_media(teacher, student)
    if teacher == student:
        return task, lambda inputs: (inputs, inputs)
    if isinstance(teacher, VideoSpec):
        return task, lambda inputs: (inputs, _shrunk(inputs, student.size_px / teacher.size_px))
    of_both = partial(PairedSound, student=student)
    paired = AudioTask(task.record["network"], teacher, train, task.val, task.training, of_both)
    shapes = [(shown_steps(spec.n_steps, task.training), spec.n_features) for spec in (teacher, student)]
    return paired, lambda rows: tuple(unpacked(rows, shapes))


class PairedSound(AudioExamples):
    """One augmented window as two front ends give it, end to end: (n of the teacher + n of the student,).

    What is cut out and masked lies at the same place in both. Flat rows can be blended like any features.
    """

    def __init__(
        self,
        clips: Prepared,
        spec: AudioSpec,
        training: AudioTraining,
        vocoded: Mapping[int, Prepared] | None = None,
        *,
        student: AudioSpec,
    ) -> None:
        super().__init__(clips, spec, training, vocoded)
        self._of_student = AudioExamples(clips, student, training, vocoded)
        self._shapes = [(spec.n_steps, spec.n_features) for spec in (spec, student)]

    def shown(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        seed = int(rng.integers(2**62))
        parts = [
            AudioExamples.shown(examples, part, np.random.default_rng(seed))
            for examples, part in zip((self, self._of_student), unpacked(features, self._shapes), strict=True)
        ]
        return torch.cat([part.flatten() for part in parts])

    def _features(self, segment: AudioSegment) -> Tensor:
        parts = [super()._features(segment), self._of_student._features(segment)]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def copy_fitting(student: nn.Module, teacher: nn.Module) -> int:
    """Start the student from every tensor of the teacher that has the same name and shape; returns how many."""
    own, given = student.state_dict(), teacher.state_dict()
    fitting = {name: given[name] for name, tensor in own.items() if name in given and given[name].shape == tensor.shape}
    student.load_state_dict(fitting, strict=False)
    return len(fitting)


def _shrunk(crops: Tensor, share: float) -> Tensor:
    """Crops (B, T, 3, S, S) averaged down to a share of their side."""
    if share == 1:
        return crops
    frames = crops.flatten(0, 1)
    size_px = round(frames.shape[-1] * share)
    return functional.interpolate(frames, size=(size_px, size_px), mode="area").unflatten(0, crops.shape[:2])


def unpacked(rows: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """(..., n) -> (..., steps, features) of each shape."""
    parts = rows.split([steps * features for steps, features in shapes], dim=-1)
    return [part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True)]


def require_same_media(teacher: InputSpec, student: InputSpec, whose: str = "the student") -> None:
    """Raise RunError where the student's input cannot be had of the media that the teacher is shown."""
    if type(teacher) is not type(student):
        raise RunError(f"a network of {student.modality} cannot learn from one of {teacher.modality}")
    is_video = isinstance(teacher, VideoSpec)
    names = [field.name for field in fields(VideoSpec) if field.name != "size_px"] if is_video else _SOUND_FIELDS
    if differing := [name for name in names if getattr(teacher, name) != getattr(student, name)]:
        told = ", ".join(f"{name} {getattr(student, name)}, not {getattr(teacher, name)}" for name in differing)
        raise RunError(f"teacher and student must be shown the same media; of {whose} {told}")
    if is_video and student.size_px > teacher.size_px:
        raise RunError(f"size_px of {whose} is {student.size_px}; at most the teacher's {teacher.size_px}")
