"""What the tuner may set, and the values that it tries."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from scipy.stats import qmc

DELAYS_MS = (1, 5, 20, 50)  # TorchServe takes 0 for 100
BATCH_SIZES = (1, 2, 4, 8)
DECODE_THREADS = (1, 2, 4)


@dataclass(frozen=True, order=True)
class Setting:
    """One way to run a model.

    Attributes:
        workers: processes, each with the model in its memory.
        batch_size: requests that a worker takes at once.
        delay_ms: how long it waits for that many.
        decode_threads: files of a batch decoded side by side.
    """

    workers: int
    batch_size: int
    delay_ms: int
    decode_threads: int

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{entry.name} is {value!r}; it must be a whole number, at least 1")

    def __str__(self) -> str:
        return f"{self.workers} × batch {self.batch_size}, {self.delay_ms} ms, {self.decode_threads} decode"

    @property
    def slug(self) -> str:
        """For names of models and files."""
        return f"w{self.workers}b{self.batch_size}m{self.delay_ms}d{self.decode_threads}"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Setting:
        """What a model configuration says; what it leaves out has the handler's default."""
        handler = config["handler"]
        return cls(
            config["maxWorkers"],
            config["batchSize"],
            config["maxBatchDelay"],
            handler.get("decode_threads", 2),
        )


@dataclass(frozen=True)
class Space:
    """The grid that is searched, in part.

    Attributes:
        values: name of a setting -> what it may be, ascending.
    """

    values: Mapping[str, tuple[int, ...]]

    @classmethod
    def of_machine(cls, n_cores: int) -> Space:
        """For a machine with so many cores: up to a worker a core."""
        counts = tuple(n for n in (1, 2, 4, 8, 16, 32, 64) if n <= max(1, n_cores))
        return cls(
            {
                "workers": counts,
                "batch_size": BATCH_SIZES,
                "delay_ms": DELAYS_MS,
                "decode_threads": DECODE_THREADS,
            }
        )

    def all(self) -> list[Setting]:
        """Every setting that makes sense, each once."""
        grid = itertools.product(*self.values.values())
        named = (self._plain(Setting(**dict(zip(self.values, point, strict=True)))) for point in grid)
        return [setting for setting in dict.fromkeys(named) if self._fits(setting)]

    def start(self, n: int, seed: int = 1) -> list[Setting]:
        """So many settings spread evenly over the grid, by a scrambled Sobol sequence.

        Raises:
            ValueError: there are not so many.
        """
        if n > len(self.all()):
            raise ValueError(f"{n} settings are wanted; there are {len(self.all())}")
        found: dict[Setting, None] = {}
        points = qmc.Sobol(len(self.values), seed=seed)
        while len(found) < n:
            for point in points.random(16):
                chosen = {
                    name: values[int(share * len(values))]
                    for (name, values), share in zip(self.values.items(), point, strict=True)
                }
                setting = self._plain(Setting(**chosen))
                if self._fits(setting):
                    found[setting] = None
        return list(found)[:n]

    def neighbours(self, setting: Setting) -> list[Setting]:
        """The settings a step away: one value the next larger or smaller one."""
        found: dict[Setting, None] = {}
        for name, values in self.values.items():
            value = getattr(setting, name)
            steps = _around(values, value)
            for step in steps:
                moved = self._plain(replace(setting, **{name: step}))
                if moved != setting and self._fits(moved):
                    found[moved] = None
        return list(found)

    def _fits(self, setting: Setting) -> bool:
        """Threads that can be of use: no more for decoding than files in a batch."""
        return setting.decode_threads <= max(setting.batch_size, self.values["decode_threads"][0])

    def _plain(self, setting: Setting) -> Setting:
        """A lone request waits for nobody, so its delay is all one."""
        return replace(setting, delay_ms=self.values["delay_ms"][0]) if setting.batch_size == 1 else setting


def _around(values: Sequence[int], value: int) -> list[int]:
    below = [each for each in values if each < value]
    above = [each for each in values if each > value]
    return below[-1:] + above[:1]


def as_config(setting: Setting) -> dict[str, Any]:
    """The lines of a model configuration that say so; those of the section `handler` apart."""
    values = asdict(setting)
    return {
        "minWorkers": values["workers"],
        "maxWorkers": values["workers"],
        "batchSize": values["batch_size"],
        "maxBatchDelay": values["delay_ms"],
        "handler": {"decode_threads": values["decode_threads"]},
    }
