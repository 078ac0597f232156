"""The training loop, the same for every modality.

    history = fit(net, task, config, Path("model.pt"))

It writes, after every epoch: `model.last.pt` (everything that resuming needs), `model.pt` when the epoch is the best so
far by validation AUC, `model.history.json` with its picture `model.history.png`, and what TensorBoard reads. A run that
was killed and resumed gives the history it would have given without that: the order and augmentation of clips follow
from (seed, epoch, position), and the random state of dropout is stored. Under torchrun the processes divide each batch
and the validation clips among them (`training.loop.distributed`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.evaluation.metrics import summarize
from training.evaluation.scores import Scores
from training.loop import checkpoint, distributed
from training.loop.checkpoint import RunError, RunState
from training.loop.history import History
from training.loop.schedule import best_epoch, cosine_rate, is_better, is_over, plateau_rate
from training.loop.train_config import TrainConfig

N_STEPS_SHOWN = 20  # the loss on the bar is the mean of so many; looking at it makes a GPU wait


class Batches(Iterable[tuple[Tensor, Tensor]], Sized, Protocol):
    """Batches of (the network's input (B, T, ...) float32, labels (B,) int64); its length is known."""


# (logits (B, 2), the batch's labels) -> the sum of the losses of its examples, in nats.
Loss = Callable[[Tensor, Tensor], Tensor]


class Task(Protocol):
    """What differs between modalities.

    Attributes:
        record: what the checkpoint says of the model: network, spec, labels (JSON values).
    """

    record: dict[str, Any]

    def batches(self, epoch: int) -> Batches:
        """The training batches of one epoch, which follow from the epoch and the task's seed alone."""

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        """Scores of the validation clips, or of a part of them, as serving would score them."""

    def set_training(self, net: nn.Module) -> None:
        """Put the network in training mode."""


def batch_loader(
    examples: Dataset,
    batches: Sequence[Sequence],
    n_workers: int,
    device: str,
    machine_of: Callable[[Any], int] | None = None,
) -> DataLoader:
    """A loader of the given batches of examples, in their order, a few steps ahead of the network.

    Args:
        examples: gives (inputs, label) for each entry of a batch.
        batches: of one epoch, over all processes; this one loads its part of each.
        n_workers: processes that make examples; 0 makes them in this one.
        device: where the network is; for CUDA the batches lie in pinned memory.
        machine_of: the one machine that has what an entry of a batch is made of; None: every machine has everything.
    """
    return DataLoader(
        examples,
        batch_sampler=distributed.divide_batches(batches, machine_of),
        num_workers=n_workers,
        prefetch_factor=4 if n_workers else None,
        pin_memory=device.startswith("cuda"),
    )


def fit(
    net: nn.Module,
    task: Task,
    config: TrainConfig,
    save_path: Path,
    *,
    resume: bool = False,
    tensorboard: bool = False,
    loss: Loss | None = None,
) -> list[dict]:
    """Train, keep the best epoch by validation AUC at `save_path`, and return the history.

    Args:
        net: in any mode; it is left with the weights of the last epoch.
        task: batches and validation.
        config: of the loop.
        save_path: the best checkpoint, which `model_defs.networks.weights.load_weights` reads.
        resume: go on from `<save_path stem>.last.pt` if it is there.
        tensorboard: write event files to `<save_path stem>.tensorboard/`, too.
        loss: what is minimised; by default the cross-entropy with smoothed labels.

    Returns:
        One record an epoch, as in the history file.

    Raises:
        RunError: the run to be resumed was another one (network, spec or config differ), there is no whole batch, or
            the precision is not one of the device.
        FloatingPointError: the loss is no longer finite.
    """
    last_path = save_path.with_suffix(".last.pt")
    save_path.parent.mkdir(parents=True, exist_ok=True)
    seed_everything(config.seed + distributed.rank())
    device = torch.device(config.device)
    if config.precision == "fp16" and device.type == "cpu":
        raise RunError("precision is fp16, which CPUs are slower at than at fp32; allowed here: auto, fp32, bf16")
    net.to(device)
    state = RunState(net, _optimizer(net, config), _scaler(config), _average(net, config), [])
    if resume and last_path.is_file():
        checkpoint.restore(last_path, state, task.record, config)
        tqdm.write(f"resuming after epoch {len(state.history)} of {config.epochs}")
    trained = distributed.wrap(net, device)
    loss = loss or partial(functional.cross_entropy, label_smoothing=config.label_smoothing, reduction="sum")
    with History(save_path, config.epochs, state.history, tensorboard) as shown:
        for epoch in range(len(state.history), config.epochs):
            if is_over(state.history, config.patience):
                tqdm.write(f"no better epoch in {config.patience}: the run ends early")
                break
            started = time.perf_counter()
            task.set_training(net)
            train_loss = _train_epoch(trained, state, task, config, epoch, loss)
            record = {"epoch": epoch + 1, "train_loss": train_loss} | _validate(state, task)
            is_best = is_better(record, best_epoch(state.history))
            state.history.append(record | {"seconds": round(time.perf_counter() - started, 1)})
            saved = {**task.record, "epoch": epoch + 1, "val": record}
            if is_best and distributed.is_main():
                checkpoint.write({**saved, "state": state.kept.state_dict()}, save_path)
            checkpoint.save(state, saved, config, last_path)
            shown.update(is_best)
    return state.history


def seed_everything(seed: int) -> None:
    """Seed torch, numpy's global generator and Python's."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _train_epoch(
    trained: nn.Module, state: RunState, task: Task, config: TrainConfig, epoch: int, loss_of: Loss
) -> float:
    """One pass; `trained` is the network, wrapped where there are several processes."""
    device, dtype = torch.device(config.device), config.autocast_dtype
    batches = task.batches(epoch)
    if not len(batches):
        raise RunError("there are too few clips for one batch; label more, or divide the work among fewer processes")
    losses: list[Tensor] = []
    title = f"epoch {epoch + 1}/{config.epochs}"
    bar = tqdm(batches, title, unit="batch", leave=False, disable=not distributed.is_main())
    for step, (inputs, labels) in enumerate(_on_device(bar, device)):
        _set_rate(state, config, (epoch + step / len(batches)) / config.epochs)
        with torch.autocast(device.type, dtype or torch.float32, enabled=dtype is not None):
            logits, _ = trained(inputs)
        loss = loss_of(logits.float(), labels)
        # Over all processes: [sum of the losses, number of examples]. Gradients are averaged over processes, so a
        # process's loss is weighted for the step to be that of the whole batch, however unevenly it was divided.
        sums = distributed.total(torch.stack([loss.detach(), loss.new_tensor(float(len(labels)))]))
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss * distributed.world_size() / sums[1]).backward()
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.net.parameters(), config.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update_parameters(state.net)
        losses.append(sums[0] / sums[1])
        if len(losses) % N_STEPS_SHOWN == 0 or len(losses) == len(batches):
            recent = _mean(losses[-N_STEPS_SHOWN:])
            if not math.isfinite(recent):
                raise FloatingPointError(f"the loss became {recent} in epoch {epoch + 1}; try a lower --lr")
            bar.set_postfix(loss=f"{recent:.3f}")
    return _mean(losses)


def _on_device(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches where the network is. On a GPU the next one is copied while the network works on this one."""
    if device.type != "cuda":
        for inputs, labels in batches:
            yield inputs.to(device), labels.to(device)
        return
    copies, ready = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(copies):
            following = tuple(tensor.to(device, non_blocking=True) for tensor in batch)
        if ready is not None:
            yield ready
        torch.cuda.current_stream(device).wait_stream(copies)
        for tensor in following:
            tensor.record_stream(torch.cuda.current_stream(device))  # not to be reused while the network reads it
        ready = following
    if ready is not None:
        yield ready


def _validate(state: RunState, task: Task) -> dict[str, float]:
    """Loss and metrics of the kept network on all validation clips, whichever process scored them."""
    state.kept.eval()
    distributed.share_buffers(state.kept)
    parts = distributed.gather(task.validate(state.kept, distributed.my_part()))
    scores = Scores(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.labels for part in parts]),
        tuple(group for part in parts for group in part.groups),
        tuple(source for part in parts for source in part.sources),
    )
    metrics = summarize(scores.labels, scores.p_fake, scores.groups, n_resamples=0)
    return {"val_loss": scores.loss} | {f"val_{name}": estimate.value for name, estimate in metrics.items()}


def _set_rate(state: RunState, config: TrainConfig, progress: float) -> None:
    if config.schedule == "cosine":
        rate = cosine_rate(progress, config.warmup_share)
    else:
        patience, factor = config.plateau_patience, config.plateau_factor
        rate = plateau_rate(progress, config.warmup_share, state.history, patience, factor)
    for group in state.optimizer.param_groups:
        group["lr"] = config.lr * group["lr_factor"] * rate


def _optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        lr_factor = 1.0 if name.startswith(getattr(net, "pretrained", ("backbone.",))) else config.head_lr_factor
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((lr_factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        {"params": parameters, "lr_factor": lr_factor, "weight_decay": decay}
        for (lr_factor, decay), parameters in groups.items()
    )


def _scaler(config: TrainConfig) -> torch.amp.GradScaler:
    """Scales the loss where gradients would vanish in fp16; bf16 has the range of fp32."""
    return torch.amp.GradScaler(torch.device(config.device).type, enabled=config.autocast_dtype is torch.float16)


def _average(net: nn.Module, config: TrainConfig) -> AveragedModel | None:
    """The running mean of the weights; its decay rises with the steps, lest the random start stays in it for long."""
    if not config.ema_decay:
        return None

    def update(average: Tensor, current: Tensor, n_averaged: Tensor | int) -> Tensor:
        decay = min(config.ema_decay, (1 + float(n_averaged)) / (10 + float(n_averaged)))
        return average + (current - average) * (1 - decay)

    return AveragedModel(net, avg_fn=update, use_buffers=True)


def _mean(losses: Sequence[Tensor]) -> float:
    return float(torch.stack(list(losses)).double().mean())
