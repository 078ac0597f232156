"""One run in several processes, on one machine or more, started by torchrun.

    torchrun --nproc-per-node 2 -m training.train_audio --dataset clips/
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m training.train_video ...

A batch is divided among the processes, so `--batch-size` means the same however many there are, and so does what the
run learns: gradients are averaged over the whole batch. Only the first process writes and speaks. Without torchrun
every function here is that of a single process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

# Others wait for the first process while it decodes clips; `make prepare` beforehand makes this short.
TIMEOUT = timedelta(hours=2)


def launched() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def processes(device: str) -> Iterator[str]:
    """Join the other processes for the length of a run; gives the device of this one.

    CUDA speaks NCCL and takes one GPU a process, `cuda:LOCAL_RANK`; the CPU speaks gloo.
    """
    if not launched():
        yield device
        return
    is_cuda = device.startswith("cuda")
    if is_cuda:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if is_cuda else "gloo", timeout=TIMEOUT)
    stdout = sys.stdout
    if not is_main():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    try:
        yield device
    finally:
        sys.stdout = stdout
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank() == 0


def my_part() -> slice:
    """Every `world_size`-th of a sequence, from this process's number on."""
    return slice(rank(), None, world_size())


def machine() -> int:
    """Number of the machine that this process runs on, from 0."""
    return int(os.environ.get("GROUP_RANK", "0")) if distributed.is_initialized() else 0


def n_machines() -> int:
    """How many machines there are."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1")) if distributed.is_initialized() else 1


def local_rank() -> int:
    """Number of this process among those of its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if distributed.is_initialized() else 0


def divide_batches(batches: Sequence[Sequence], machine_of: Callable[[Any], int] | None = None) -> Sequence[Sequence]:
    """This process's part of each batch; a batch in which a process would have no example is dropped.

    Args:
        batches: the same in all processes.
        machine_of: the one machine that has what an example is made of; None: every machine has everything.
    """
    if world_size() == 1:
        return batches
    if machine_of is None or n_machines() == 1:
        return [batch[my_part()] for batch in batches if len(batch) >= world_size()]
    n_local = world_size() // n_machines()
    divided = []
    for batch in batches:
        held = [[each for each in batch if machine_of(each) == number] for number in range(n_machines())]
        if min(map(len, held)) >= n_local:
            divided.append(held[machine()][local_rank() :: n_local])
    return divided


def gather(value: Any) -> list:
    """What each process gave, by rank; in all processes."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes, in all processes."""
    if world_size() > 1:
        tensor = tensor.clone()
        distributed.all_reduce(tensor)
    return tensor


def wrap(net: nn.Module, device: torch.device) -> nn.Module:
    """The network with gradients averaged over the processes; on CUDA batch statistics, too."""
    if world_size() == 1:
        return net
    if device.type == "cuda":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    return DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)


def share_buffers(net: nn.Module) -> None:
    """Give all processes the first one's buffers: batch statistics that were not shared while training (on CPUs)."""
    if world_size() > 1:
        for buffer in net.buffers():
            distributed.broadcast(buffer, src=0)


@contextmanager
def main_first() -> Iterator[None]:
    """Let the first process run the block before the others do: they find what it has left on the disk."""
    if not is_main():
        distributed.barrier()
    yield
    if is_main() and world_size() > 1:
        distributed.barrier()


@contextmanager
def first_of_machine() -> Iterator[None]:
    """Let the first process of each machine run the block before the others of that machine do."""
    if local_rank():
        distributed.barrier()
    yield
    if not local_rank() and world_size() > 1:
        distributed.barrier()
