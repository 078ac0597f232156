"""The state of a run on the disk, so that a killed one goes on as if nothing had been."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from model_defs.networks.weights import load_weights
from model_defs.spec import spec_from_dict, spec_to_dict
from training.loop import distributed
from training.loop.train_config import TrainConfig


class RunError(ValueError):
    """A run that cannot be started or resumed as asked; the message says why."""


@dataclass
class RunState:
    """What changes during a run.

    Attributes:
        net: the network that is trained.
        optimizer: of its parameters.
        scaler: of the loss, for fp16.
        average: running mean of the weights, or None.
        history: one record an epoch.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: AveragedModel | None
    history: list[dict]

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.net if self.average is None else self.average.module


def save(state: RunState, record: Mapping[str, Any], config: TrainConfig, path: Path) -> None:
    """Write everything that `restore` needs; its "state" is that of the kept network, as in the best checkpoint."""
    random_states = distributed.gather(_random_state(config.device))
    if not distributed.is_main():
        return
    running = {
        "raw_state": state.net.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "average": None if state.average is None else state.average.state_dict(),
        "history": state.history,
        "config": _identity(config),
        "random_states": random_states,
    }
    write({**record, "state": state.kept.state_dict(), **running}, path)


def restore(path: Path, state: RunState, record: Mapping[str, Any], config: TrainConfig) -> None:
    """Bring a run back to the end of its last finished epoch.

    More epochs than it was begun with extend it: its learning rate goes on as that of the longer run from there.

    Args:
        path: what `save` wrote.
        state: of a run that has not begun; filled.
        record: what the task says of the model.
        config: of the loop.

    Raises:
        RunError: the run was another one (network, spec or config differ), or of another number of processes.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    begun = checkpoint["config"]
    checkpoint["config"] = begun | {"epochs": max(begun["epochs"], config.epochs)}
    for name, value in {**record, "config": _identity(config)}.items():
        if checkpoint[name] != value:
            raise RunError(f"{path} is of another run: its {name} is {_difference(checkpoint[name], value)}")
    random_states = checkpoint["random_states"]
    if len(random_states) != distributed.world_size():
        raise RunError(
            f"{path} is of a run of {len(random_states)} process(es), not {distributed.world_size()}: "
            "its random numbers would not be the same; start it as before, or anew without --resume"
        )
    state.net.load_state_dict(checkpoint["raw_state"])
    state.optimizer.load_state_dict(checkpoint["optimizer"])
    state.scaler.load_state_dict(checkpoint["scaler"])
    if state.average is not None:
        state.average.load_state_dict(checkpoint["average"])
    state.history[:] = checkpoint["history"]
    mine = random_states[distributed.rank()]
    torch.set_rng_state(mine["cpu"])
    if mine["cuda"] is not None and torch.device(config.device).type == "cuda":
        torch.cuda.set_rng_state(mine["cuda"], config.device)


def write(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all: a kill in the middle leaves the one before it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    torch.save(dict(checkpoint), partial)
    partial.replace(path)


def average(paths: Sequence[Path]) -> dict:
    """The checkpoint record with the mean of the weights and batch-norm statistics, each file counting alike.

    One network that errs less than each of several runs that went on from the same weights (not of networks that were
    trained apart): M. Wortsman et al., "Model soups" (ICML 2022), and with the start itself among them "Robust
    fine-tuning of zero-shot models" (CVPR 2022).

    Args:
        paths: checkpoints or weight files, at least two, of one network and input.

    Raises:
        RunError: there are fewer, or they are of different networks or inputs.
    """
    if len(paths) < 2:
        raise RunError("an average needs at least two checkpoints")
    loaded = [load_weights(path) for path in paths]
    kept = ("network", "spec", "labels")
    for _, record in loaded:  # one form for what JSON wrote and what torch did: it has tuples
        record["spec"], record["labels"] = spec_to_dict(spec_from_dict(record["spec"])), list(record["labels"])
    first = {name: loaded[0][1][name] for name in kept}
    for path, (_, record) in zip(paths, loaded, strict=True):
        for name in kept:
            if record[name] != first[name]:
                raise RunError(f"{path} has another {name} than {paths[0]}: {record[name]}, not {first[name]}")
    states = [net.state_dict() for net, _ in loaded]
    return {
        **first,
        "averaged": len(paths),
        "state": {name: _mean([state[name] for state in states]) for name in states[0]},
    }


def _identity(config: TrainConfig) -> dict[str, Any]:
    """What must not change; a run may go on on another GPU."""
    return asdict(config) | {"device": torch.device(config.device).type}


def _random_state(device: str) -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state(device) if torch.device(device).type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _difference(found: Any, wanted: Any) -> str:
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return f"{found}, not {wanted}"
    names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    return "; ".join(f"{name} {found.get(name)}, not {wanted.get(name)}" for name in names)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():  # how many batches a batch norm has seen
        return tensors[0].clone()
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(tensors[0].dtype)
