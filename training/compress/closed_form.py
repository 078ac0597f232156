"""Distillation of a network that takes no steps: a light kernel machine, fitted at once to its teacher's answers.

The squared difference of the logits is what distillation minimises as its temperature grows (G. Hinton et al., 2015,
section 2.1), and what a kernel machine can be solved for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from model_defs.networks.audio_svm import StatisticsNet
from model_defs.spec import AudioSpec
from training.compress.distillation import PairedSound, require_same_media, unpacked
from training.fit_audio import Examples, KernelFit, collect, draw_rows, set_axes, set_machine
from training.run.lifecycle import Prepared

JITTER = 1e-6  # keeps the equations solvable where two support_vectors lie together


def taught_examples(
    teacher: nn.Module,
    teacher_spec: AudioSpec,
    net: StatisticsNet,
    spec: AudioSpec,
    train: Prepared,
    how: KernelFit,
    n_workers: int = 1,
) -> tuple[Examples, np.ndarray]:
    """The student's examples, and half the difference of the teacher's logits for each, (n,).

    Args:
        teacher: any network of sound, in eval mode.
        teacher_spec, net, spec, train, how, n_workers: as in `heard_by_both`.

    Raises:
        RunError: the inputs cannot be had of the same sound.
    """
    answers, own = heard_by_both(
        lambda features: half_difference(teacher(features)[0])[:, None], teacher_spec, net, spec, train, how, n_workers
    )
    return own, answers.statistics[:, 0].double().numpy()


def half_difference(logits: Tensor) -> Tensor:
    """Logits (B, 2) as the margin (B,) of a support vector machine: of which they are plus and minus."""
    return (logits[:, 1] - logits[:, 0]) / 2


def heard_by_both(
    listen: Callable[[Tensor], Tensor],
    teacher_spec: AudioSpec,
    net: StatisticsNet,
    spec: AudioSpec,
    train: Prepared,
    how: KernelFit,
    n_workers: int = 1,
) -> tuple[Examples, Examples]:
    """What a teacher and the network make of the same windows.

    Args:
        listen: what is kept of the teacher's features, (1, ...) -> (1, n).
        teacher_spec: its input; `train` may be prepared for either.
        net: the student.
        spec: the student's input.
        train: clips.
        how: copies, vocoders and seed.
        n_workers: that make vocoded copies.

    Returns:
        The teacher's examples and the network's, alike but for the statistics.

    Raises:
        RunError: the inputs cannot be had of the same sound.
    """
    require_same_media(teacher_spec, spec)
    shapes = [(one.n_steps, one.n_features) for one in (teacher_spec, spec)]
    n_own = net.statistics.n_statistics

    def of_both(rows: Tensor) -> Tensor:
        of_teacher, of_student = unpacked(rows, shapes)
        return torch.cat([listen(of_teacher), net.statistics(of_student)], dim=1)

    heard = collect(of_both, train, teacher_spec, how, n_workers, partial(PairedSound, student=spec))
    parts = heard.statistics[:, :-n_own], heard.statistics[:, -n_own:]
    return replace(heard, statistics=parts[0]), replace(heard, statistics=parts[1])


def fit_taught(net: StatisticsNet, examples: Examples, answers: np.ndarray, how: KernelFit, weight: float) -> None:
    """Set every weight of the network, by kernel ridge regression on a part of the examples as support_vectors.

    Each example is to be answered by a share of `answers` and, for the rest, by -1 or 1 as it is labelled. Known as the
    subset of regressors: J. Quiñonero-Candela and C. Rasmussen, "A unifying view of sparse approximate Gaussian process
    regression" (JMLR 6, 2005). `c` counts as in `fit_network`.

    Args:
        net: set in place.
        examples: (n); the support_vectors are drawn from them, by weight.
        answers: half the difference of the teacher's logits, (n,).
        how: gamma, c and seed.
        weight: of the answers, 0 to 1.
    """
    targets = weight * answers + (1 - weight) * (2.0 * examples.labels - 1)
    points = torch.from_numpy(set_axes(net, examples.statistics, how))
    machine = net.classifier
    support_vectors = points[draw_rows(examples, len(machine.support_vectors), how.seed)].numpy()
    n_support_vectors, bias = len(support_vectors), float(np.average(targets, weights=examples.weights))
    set_machine(machine, support_vectors, np.zeros(n_support_vectors), bias)
    with torch.inference_mode():
        near = machine.kernel(points).double().numpy()[:, :n_support_vectors]
        among = machine.kernel(machine.support_vectors[:n_support_vectors]).double().numpy()[:, :n_support_vectors]
    weighed = near.T * (examples.weights / examples.weights.mean())
    matrix = weighed @ near + among / how.c + JITTER * np.eye(n_support_vectors)
    dual_coefficients = np.linalg.solve(matrix, weighed @ (targets - bias))
    set_machine(machine, support_vectors, dual_coefficients, bias)
    tqdm.write(f"{len(targets)} examples, {n_support_vectors} support vectors")
