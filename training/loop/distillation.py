"""The loss of learning from labels and from a teacher's answers at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def distillation_loss(
    logits: Tensor, targets: Tensor, *, temperature: float = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """The sum of `distillation_losses` over the batch: what the engine minimises."""
    return distillation_losses(logits, targets, temperature=temperature, label_smoothing=label_smoothing).sum()


def distillation_losses(
    logits: Tensor, targets: Tensor, *, temperature: float = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """weight * T^2 * KL(teacher at T || student at T) + (1 - weight) * cross-entropy of each example, (B,), in nats.

    G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network" (2015). T^2 keeps the teacher's
    gradients as large as the labels' whatever the temperature; at 1 they are those of the cross-entropy with a blend of
    label and answer.

    Args:
        logits: the student's, (B, 2).
        targets: (B, 5), as `with_teacher` and `without_teacher` give them.
        temperature: T; both networks' logits are divided by it.
        label_smoothing: share of each label given to the other class.
    """
    shares, teacher_logits, weight = targets[:, :2], targets[:, 2:4], targets[:, 4]
    by_labels = functional.cross_entropy(logits, shares, label_smoothing=label_smoothing, reduction="none")
    student, teacher = (functional.log_softmax(values / temperature, dim=1) for values in (logits, teacher_logits))
    by_teacher = functional.kl_div(student, teacher, log_target=True, reduction="none").sum(dim=1) * temperature**2
    return weight * by_teacher + (1 - weight) * by_labels


def with_teacher(labels: Tensor, teacher_logits: Tensor, weight: float) -> Tensor:
    """Targets of a distillation, (B, 5): shares of the classes, the teacher's logits, the teacher's weight.

    Args:
        labels: (B,), or shares of the classes (B, 2).
        teacher_logits: (B, 2).
        weight: of the teacher's part of the loss, 0 to 1; the labels have the rest.
    """
    shares = functional.one_hot(labels, 2) if labels.dim() == 1 else labels
    weights = teacher_logits.new_full((len(labels), 1), weight)
    return torch.cat([shares.to(teacher_logits), teacher_logits, weights], dim=1)


def without_teacher(labels: Tensor) -> Tensor:
    """Targets of examples of which the labels (B,) alone count."""
    return with_teacher(labels, torch.zeros(len(labels), 2), 0.0)
