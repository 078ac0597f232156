"""Noise that is made to mislead: FGSM and PGD on what the network is fed, by an attacker who has its weights.

Budgets are the largest change of any one value. For video it is in 1/255 of a channel's range, and the changed crop
stays in range; a change below 0.5 would not outlast rounding to 8 bits. For audio it is a share of the standard
deviation of the clip's features; such features need not belong to any sound, so this is harsher than an attack on the
waveform, which was not tried.

I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial examples" (2015);
A. Madry and others, "Towards deep learning models resistant to adversarial attacks" (2018).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from model_defs.errors import DetectionError
from model_defs.networks.artifact import Artifact
from model_defs.networks.weights import sha256_of
from model_defs.spec import VideoSpec
from training.data.clip import Clip
from training.evaluation.file_scores import Candidate, ClipScores, ScoreCache, network_input, sampled

STEP_SHARE = 2.5  # PGD's steps together could go so many times as far as the budget (Madry and others)


@dataclass(frozen=True)
class Attack:
    """One budget of one attack.

    Attributes:
        budget: in 1/255 (video) or shares of the features' standard deviation (audio).
        n_steps: 0 is chance, a control: each value moves by the whole budget, up or down by lot; 1 is FGSM; more is
            PGD from the clean input.
    """

    budget: float
    n_steps: int = 1

    @property
    def axis(self) -> str:
        return {0: "random signs", 1: "FGSM"}.get(self.n_steps, f"PGD, {self.n_steps} steps")

    @property
    def name(self) -> str:
        return f"{self.axis}, budget {self.budget:g}"


BUDGET_UNITS = {"video": "1/255", "audio": "standard deviations of the features"}


def attacks(modality: str, *, quick: bool) -> list[Attack]:
    """From weak to strong."""
    budgets = {"video": (0.1, 0.25, 0.5, 1.0), "audio": (0.01, 0.02, 0.05, 0.1)}[modality]
    n_steps = 5 if quick else 10
    return [Attack(budget, steps) for steps in (0, 1, n_steps) for budget in (budgets[1::2] if quick else budgets)]


def perturb(artifact: Artifact, inputs: Tensor, label: int, attack: Attack) -> Tensor:
    """The input, changed within the budget so that the network errs more.

    Args:
        artifact: fp32, on the CPU: int8 has no gradient.
        inputs: of one clip, (B, T, ...).
        label: 1 for fake; the attack works against it.
    """
    scale, low, high = _bounds(artifact, inputs)
    budget = attack.budget * scale
    if attack.n_steps == 0:
        signs = torch.randint(0, 2, inputs.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return _within(inputs + budget * signs, low, high)
    step = budget if attack.n_steps == 1 else budget * STEP_SHARE / attack.n_steps
    changed = inputs.clone()
    for _ in range(attack.n_steps):
        changed.requires_grad_()
        with torch.jit.optimized_execution(False):  # the executor would specialise on each of these odd passes
            logits, _ = artifact.module(changed)
        # Cross-entropy falls with this margin, whatever the rest, and its sign is all that is taken.
        towards_label = (logits[:, 1] - logits[:, 0]).sum() * (1 if label else -1)
        gradient = torch.autograd.grad(towards_label, changed)[0]
        with torch.no_grad():
            changed = changed - step * gradient.sign()
            changed = torch.minimum(torch.maximum(changed, inputs - budget), inputs + budget)
            changed = _within(changed, low, high)
    return changed.detach()


def _within(changed: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    return changed if low is None else torch.minimum(torch.maximum(changed, low), high)


def _bounds(artifact: Artifact, inputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """What one unit of budget is in the network's input, and the bounds of what is a picture."""
    spec = artifact.spec
    if not isinstance(spec, VideoSpec):
        return inputs.std(), None, None
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return 1 / (255 * std), (0 - mean) / std, (1 - mean) / std


def score_attacked(candidate: Candidate, clips: Sequence[Clip], cache: ScoreCache, attack: Attack) -> ClipScores:
    """Margins of the clips under an attack of their own each."""
    kept, margins, refused = [], [], Counter()
    for clip in tqdm(clips, f"{candidate.modality}, {attack.name}", unit="clip", leave=False):
        key = cache.key("attack", candidate.sha256, sha256_of(clip.path), clip.label, attack.budget, attack.n_steps)
        if (record := cache.get(key)) is None:
            record = _record(candidate, clip, attack)
            cache.put(key, record)
        if "error" in record:
            refused[record["error"]] += 1
        else:
            kept.append(clip)
            margins.append(record["margin"])
    return ClipScores(tuple(kept), {candidate.name: np.array(margins)}, dict(refused))


def _record(candidate: Candidate, clip: Clip, attack: Attack) -> dict:
    artifact = candidate.predictor.artifact
    try:
        inputs = network_input(artifact, sampled(clip.path)(candidate.predictor))
    except DetectionError as error:
        return {"error": error.code.value}
    logits, _ = artifact.forward(perturb(artifact, inputs.clone(), clip.label, attack))
    return {"margin": float((logits[:, 1] - logits[:, 0]).double().mean())}
