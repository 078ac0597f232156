from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from training.loop.distillation import distillation_loss, with_teacher


def test_loss_is_the_one_worked_out_by_hand():
    logits, teacher = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, -1.0]])
    targets = with_teacher(torch.tensor([0]), teacher, 0.7)
    student_p, teacher_p = 1 / (1 + math.exp(-1.0)), 1 / (1 + math.exp(1.0))  # of class 1, at temperature 2
    divergence = teacher_p * math.log(teacher_p / student_p) + (1 - teacher_p) * math.log(
        (1 - teacher_p) / (1 - student_p)
    )
    by_labels = math.log(1 + math.exp(2.0))
    found = distillation_loss(logits, targets, temperature=2.0)
    assert found.item() == pytest.approx(0.7 * 4 * divergence + 0.3 * by_labels, rel=1e-5)


def test_loss_without_weight_is_the_labels_and_with_all_of_it_vanishes_at_the_teacher():
    logits, labels = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    targets = with_teacher(labels, torch.randn(5, 2), 0.0)
    plain = functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=0.1)
    torch.testing.assert_close(distillation_loss(logits, targets, temperature=3.0, label_smoothing=0.1), plain)
    same = distillation_loss(logits, with_teacher(labels, logits + 5, 1.0), temperature=3.0)
    assert same.item() == pytest.approx(0, abs=1e-5)


def test_shares_of_the_classes_are_taken_as_they_are():
    shares, teacher = torch.tensor([[0.3, 0.7]]), torch.tensor([[1.0, 2.0]])
    assert torch.equal(with_teacher(shares, teacher, 0.5), torch.tensor([[0.3, 0.7, 1.0, 2.0, 0.5]]))


def test_at_temperature_1_the_gradient_is_that_of_a_blend_of_label_and_answer():
    torch.manual_seed(0)
    logits, answers, labels = torch.randn(4, 2, requires_grad=True), torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    (found,) = torch.autograd.grad(distillation_loss(logits, with_teacher(labels, answers, 0.3)), logits)
    blend = functional.one_hot(labels, 2).float().lerp(answers.softmax(dim=1), 0.3)
    (expected,) = torch.autograd.grad(functional.cross_entropy(logits, blend, reduction="sum"), logits)
    torch.testing.assert_close(found, expected)
