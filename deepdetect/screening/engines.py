"""What runs shards: processes of this machine, or actors of a Ray cluster. Neither knows what a model is."""

from __future__ import annotations

import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deepdetect.screening import parts
from deepdetect.screening.errors import ScreeningError
from deepdetect.screening.judge import ModelSettings, judge_shard
from deepdetect.screening.places import open_place
from deepdetect.screening.shards import Shard

MAX_FAILED_STARTS = 10  # of Ray actors, in a row: their environment is broken


@dataclass(frozen=True)
class Work:
    """What every portion of a run shares.

    Attributes:
        settings: the models.
        output: the place that rows are published at, as `open_place` takes it.
        run_id: of the run.
        attempt: how often these files have been tried, this time included.
    """

    settings: ModelSettings
    output: str
    run_id: str
    attempt: int = 1


def judge_and_publish(shard: Shard, work: Work) -> int:
    """What a worker does with a whole shard: its rows go to the output, and only their number back."""
    table = judge_portion(shard, work)
    parts.publish(open_place(work.output), shard, table)
    return int(table.num_rows)


def judge_portion(shard: Shard, work: Work) -> pa.Table:
    """What a worker does with a part of a shard that ended a process before: its rows come back."""
    return judge_shard(shard, work.settings, work.run_id, work.attempt)


class Engine(ABC):
    """Runs shards side by side, and portions of one that killed its worker one by one.

    Args:
        work: of all shards.
        n_workers: shards that are judged at a time.
    """

    def __init__(self, work: Work, n_workers: int) -> None:
        self.work = work
        self.n_workers = n_workers

    @abstractmethod
    def run(self, shards: list[Shard]) -> Iterator[tuple[Shard, bool]]:
        """Each shard as it ends, and whether it was published; where it was not, its worker died with it."""

    @abstractmethod
    def alone(self, portion: Shard) -> pa.Table | None:
        """The rows of some files, judged while nothing else is; None where the process died of it."""

    @abstractmethod
    def end_isolation(self) -> None:
        """Ends the worker that `alone` keeps from one portion to the next."""

    @abstractmethod
    def close(self) -> None:
        """Ends all workers."""


class LocalEngine(Engine):
    """Processes of this machine: `concurrent.futures`."""

    def __init__(self, work: Work, n_workers: int) -> None:
        super().__init__(work, n_workers)
        self._pool = self._new(n_workers)
        self._quarantine: ProcessPoolExecutor | None = None

    def run(self, shards: list[Shard]) -> Iterator[tuple[Shard, bool]]:
        waiting = list(reversed(shards))
        running: dict[Future[int], Shard] = {}
        while waiting or running:
            # No more than there are workers: a pool that breaks takes all that it holds along.
            while waiting and len(running) < self.n_workers:
                shard = waiting.pop()
                running[self._pool.submit(judge_and_publish, shard, self.work)] = shard
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in ended):
                wait(running)
                self._pool.shutdown()
                self._pool = self._new(self.n_workers)
                ended = set(running)
            for future in ended:
                error = future.exception()
                if error is not None and not isinstance(error, BrokenProcessPool):
                    raise error
                yield running.pop(future), error is None

    def alone(self, portion: Shard) -> pa.Table | None:
        if self._quarantine is None:
            self._quarantine = self._new(1)
        try:
            return self._quarantine.submit(judge_portion, portion, self.work).result()
        except BrokenProcessPool:
            self.end_isolation()
            return None

    def end_isolation(self) -> None:
        if self._quarantine is not None:
            self._quarantine.shutdown()
            self._quarantine = None

    def close(self) -> None:
        self.end_isolation()
        self._pool.shutdown(cancel_futures=True)

    @staticmethod
    def _new(n_workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"), initializer=_one_thread)


class _Judge:
    """An actor: one process with one detector."""

    def __init__(self, work: Work) -> None:
        _one_thread()
        self.work = work

    def is_ready(self) -> bool:
        return True

    def publish(self, shard: Shard) -> int:
        return judge_and_publish(shard, self.work)

    def judge(self, portion: Shard) -> pa.Table:
        return judge_portion(portion, self.work)


class RayEngine(Engine):
    """Actors of a Ray cluster, one shard at a time each.

    Paths go there, not bytes, and actors write their own parts: nothing large passes through the driver. Ray retries
    nothing by itself here (`max_task_retries=0`), for it would repeat for ever what kills an actor.

    Args:
        address: of the cluster; None starts one on this machine.
        n_gpus: of each actor.
    """

    actor_class: type[_Judge] = _Judge

    def __init__(self, work: Work, n_workers: int, address: str | None = None, n_gpus: float = 0.0) -> None:
        super().__init__(work, n_workers)
        self._ray = _import_ray()
        # "local" starts a cluster of its own; without it Ray attaches to whatever it finds.
        self._ray.init(address=address or "local", log_to_driver=False)
        options = {"max_restarts": 0, "max_task_retries": 0, "num_cpus": 1, "num_gpus": n_gpus}
        self._actor = self._ray.remote(**options)(self.actor_class)
        self._quarantine: Any = None

    def run(self, shards: list[Shard]) -> Iterator[tuple[Shard, bool]]:
        waiting = list(reversed(shards))
        starting = dict(self._start() for _ in range(min(self.n_workers, len(shards))))
        idle: list[Any] = []
        running: dict[Any, tuple[Shard, Any]] = {}
        n_failed_starts = 0
        while waiting or running:
            # A shard goes to an actor that has a place: one that waits for a node, which may never come, gets none.
            while waiting and idle:
                shard, actor = waiting.pop(), idle.pop()
                running[actor.publish.remote(shard)] = (shard, actor)
            (ended,), _ = self._ray.wait([*running, *starting], num_returns=1)
            if ended in starting:
                actor = starting.pop(ended)
                if self._of(ended):
                    idle.append(actor)
                    n_failed_starts = 0
                    continue
                n_failed_starts += 1
                if n_failed_starts > MAX_FAILED_STARTS:
                    raise OSError(f"{n_failed_starts} Ray actors in a row died before they judged anything")
            else:
                shard, actor = running.pop(ended)
                published = self._of(ended) is not None
                yield shard, published
                if published:
                    idle.append(actor)
                    continue
            starting |= [self._start()]

    def _start(self) -> tuple[Any, Any]:
        """A new actor, behind what tells that it has a place and lives."""
        actor = self._actor.remote(self.work)
        return actor.is_ready.remote(), actor

    def alone(self, portion: Shard) -> pa.Table | None:
        if self._quarantine is None:
            # Of no cores: it must find a place while other actors hold all that a smaller cluster has left.
            self._quarantine = self._actor.options(num_cpus=0).remote(self.work)
        table: pa.Table | None = self._of(self._quarantine.judge.remote(portion))
        if table is None:
            self._quarantine = None
        return table

    def end_isolation(self) -> None:
        self._quarantine = None  # an actor that nothing refers to ends

    def close(self) -> None:
        self._ray.shutdown()

    def _of(self, task: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except (errors.RayActorError, errors.NodeDiedError, errors.ObjectLostError):  # the actor or its node is gone
            return None


def _one_thread() -> None:
    """Torch on one thread: as many processes judge as there are cores."""
    import torch

    torch.set_num_threads(1)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ScreeningError("--engine ray needs Ray: pip install 'deepdetect[ray]'") from error
    return ray
