"""The training loop, the same for every modality.

    history = fit(net, task, config, Path("model.pt"))

It writes, after every epoch: `model.last.pt` (everything that resuming needs),
`model.pt` when the epoch is the best so far by validation AUC, and
`model.history.json` with its picture, `model.history.png`. A run that was killed and resumed gives the history it
would have given without that: the order and augmentation of clips follow from
(seed, epoch, position) and the random state of dropout is stored.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterable, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.history_plot import plot_history
from training.metrics import summarize

_SHOWN = {"train loss": "train_loss", "val loss": "val_loss", "val AUC": "val_auc", "val EER": "val_eer"}


@dataclass(frozen=True)
class TrainConfig:
    """What the loop needs to know; the same for every modality.

    Attributes:
        epochs: passes over as many draws as there are training clips.
        lr: peak learning rate of what starts from pretrained weights, or of everything.
        head_lr_factor: the other parameters learn this many times as fast.
        weight_decay: AdamW's; matrices and kernels alone decay.
        warmup_share: share of all steps in which the rate rises linearly; a half cosine down follows.
        label_smoothing: share of each label given to the other class.
        clip_norm: ceiling of the gradient's norm.
        seed: of everything random.
        device: a torch device.
        mixed_precision: fp16 autocast and loss scaling; on CUDA alone.
    """

    epochs: int = 20
    lr: float = 1e-3
    head_lr_factor: float = 1.0
    weight_decay: float = 1e-2
    warmup_share: float = 0.1
    label_smoothing: float = 0.05
    clip_norm: float = 1.0
    seed: int = 0
    device: str = "cpu"
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "head_lr_factor", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup_share", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0 <= x < 1")


@dataclass(frozen=True)
class Scores:
    """The outcome of scoring clips: logits (n, 2) float64, labels (n,), groups (n,), and where each was published."""

    logits: np.ndarray
    labels: np.ndarray
    groups: tuple[str, ...]
    sources: tuple[str, ...] = ()

    @property
    def p_fake(self) -> np.ndarray:
        """P(fake) by softmax, (n,), uncalibrated."""
        return 1.0 / (1.0 + np.exp(np.clip(self.logits[:, 0] - self.logits[:, 1], -50, 50)))

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        p_label = np.where(self.labels == 1, self.p_fake, 1.0 - self.p_fake)
        return float(-np.log(np.clip(p_label, 1e-7, 1.0)).mean())


class Batches(Iterable[tuple[Tensor, Tensor]], Sized, Protocol):
    """Batches of (the network's input (B, T, ...) float32, labels (B,) int64); its length is known."""


class Task(Protocol):
    """What differs between modalities.

    Attributes:
        record: what the checkpoint says of the model: network, spec, labels (JSON values).
    """

    record: dict[str, Any]

    def batches(self, epoch: int) -> Batches:
        """The training batches of one epoch, which follow from the epoch and the task's seed alone."""

    def validate(self, net: nn.Module) -> Scores:
        """Scores of the validation clips as serving would score them."""

    def set_training(self, net: nn.Module) -> None:
        """Put the network in training mode."""


def batch_loader(examples: Dataset, batches: Sequence[Sequence], n_workers: int, device: str) -> DataLoader:
    """A loader of the given batches of examples, in their order, a few steps ahead of the network.

    Args:
        examples: gives (inputs, label) for each entry of a batch.
        batches: of one epoch.
        n_workers: processes that make examples; 0 makes them in this one.
        device: where the network is; for CUDA the batches lie in pinned memory.
    """
    return DataLoader(
        examples,
        batch_sampler=batches,
        num_workers=n_workers,
        prefetch_factor=4 if n_workers else None,
        pin_memory=device.startswith("cuda"),
    )


def fit(net: nn.Module, task: Task, config: TrainConfig, save_path: Path, *, resume: bool = False) -> list[dict]:
    """Train, keep the best epoch by validation AUC at `save_path`, and return the history.

    Args:
        net: in any mode; it is left with the weights of the last epoch.
        task: batches and validation.
        config: of the loop.
        save_path: the best checkpoint, which `model_defs.weights.load_weights` reads.
        resume: go on from `<save_path stem>.last.pt` if it is there.

    Returns:
        One record an epoch, as in the history file.

    Raises:
        ValueError: the run to be resumed was another one (network, spec or config differ).
        FloatingPointError: the loss is no longer finite.
    """
    last_path, history_path = save_path.with_suffix(".last.pt"), save_path.with_suffix(".history.json")
    save_path.parent.mkdir(parents=True, exist_ok=True)
    seed_everything(config.seed)
    device = torch.device(config.device)
    net.to(device)
    optimizer = _optimizer(net, config)
    scaler = torch.amp.GradScaler(device.type, enabled=_mixed(config))
    history: list[dict] = []
    if resume and last_path.is_file():
        history = _restore(last_path, net, optimizer, scaler, task, config)
        tqdm.write(f"resuming after epoch {len(history)} of {config.epochs}")
    for epoch in range(len(history), config.epochs):
        started = time.perf_counter()
        task.set_training(net)
        train_loss = _train_epoch(net, task, config, optimizer, scaler, epoch)
        net.eval()
        scores = task.validate(net)
        figures = summarize(scores.labels, scores.p_fake, scores.groups, n_resamples=0)
        record = {"epoch": epoch + 1, "train_loss": train_loss, "val_loss": scores.loss}
        record |= {f"val_{name}": estimate.value for name, estimate in figures.items()}
        is_best = record["val_auc"] > max((past["val_auc"] for past in history), default=-math.inf)
        history.append(record | {"seconds": round(time.perf_counter() - started, 1)})
        tqdm.write(_line(history[-1], config.epochs, is_best))
        checkpoint = {**task.record, "epoch": epoch + 1, "val": record, "state": net.state_dict()}
        if is_best:
            _save(checkpoint, save_path)
        _save(checkpoint | _running_state(optimizer, scaler, history, config), last_path)
        history_path.write_text(json.dumps(history, indent=1) + "\n")
        plot_history(history, history_path.with_suffix(".png"))
    return history


def seed_everything(seed: int) -> None:
    """Seed torch, numpy's global generator and Python's."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _train_epoch(net, task: Task, config: TrainConfig, optimizer, scaler, epoch: int) -> float:
    device = torch.device(config.device)
    batches = task.batches(epoch)
    losses = []
    bar = tqdm(batches, desc=f"epoch {epoch + 1}/{config.epochs}", unit="batch", leave=False)
    for step, (inputs, labels) in enumerate(bar):
        rate = _rate((epoch + step / len(batches)) / config.epochs, config.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * group["lr_factor"] * rate
        inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.float16, enabled=_mixed(config)):
            logits, _ = net(inputs)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss became {losses[-1]} in epoch {epoch + 1}; try a lower --lr")
        bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}")
    return float(np.mean(losses))


def _rate(progress: float, warmup_share: float) -> float:
    """Share of the peak learning rate at `progress` (0 to 1) of the run: linear rise, half cosine down."""
    if progress < warmup_share:
        return (progress + 1e-3) / (warmup_share + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup_share) / (1 - warmup_share)))


def _optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        lr_factor = 1.0 if name.startswith("backbone.") else config.head_lr_factor
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((lr_factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        {"params": parameters, "lr_factor": lr_factor, "weight_decay": decay}
        for (lr_factor, decay), parameters in groups.items()
    )


def _mixed(config: TrainConfig) -> bool:
    return config.mixed_precision and torch.device(config.device).type == "cuda"


def _running_state(optimizer, scaler, history: list[dict], config: TrainConfig) -> dict[str, Any]:
    return {
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "history": history,
        "config": asdict(config),
        "random_state": torch.get_rng_state(),
        "cuda_random_states": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore(path: Path, net, optimizer, scaler, task: Task, config: TrainConfig) -> list[dict]:
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    for name, value in {**task.record, "config": asdict(config)}.items():
        if checkpoint[name] != value:
            raise ValueError(f"{path} is of another run: its {name} is {checkpoint[name]}, not {value}")
    net.load_state_dict(checkpoint["state"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scaler.load_state_dict(checkpoint["scaler"])
    torch.set_rng_state(checkpoint["random_state"])
    if checkpoint["cuda_random_states"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(checkpoint["cuda_random_states"])
    return checkpoint["history"]


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    torch.save(checkpoint, partial)
    partial.replace(path)  # a kill in the middle leaves the checkpoint before it whole


def _line(record: dict, epochs: int, is_best: bool) -> str:
    figures = ", ".join(f"{name} {record[key]:.3f}" for name, key in _SHOWN.items())
    return f"epoch {record['epoch']}/{epochs}: {figures}, {record['seconds']:.0f} s{' (best)' if is_best else ''}"
