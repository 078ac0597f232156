"""A server in a formula, whose best settings are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loadtest.tuning.pareto import Point
from loadtest.tuning.search import Rung
from loadtest.tuning.space import Setting

N_CORES = 2


def true_point(setting: Setting) -> Point:
    """Two cores: a second worker helps, torch threads beside it hurt; batches of 4 are the best, decoding by twos."""
    speed = min(setting.workers, N_CORES) ** 0.8
    speed *= 1.0 - 0.25 * max(0, setting.workers - N_CORES)
    batch_gain = 1.0 + 0.35 * math.log2(min(setting.batch_size, 4)) / 2 - 0.1 * (setting.batch_size > 4)
    decode_gain = 1.0 + 0.1 * (setting.decode_threads == 2) - 0.05 * (setting.decode_threads > 2)
    throughput = 4.0 * speed * batch_gain * decode_gain
    wait_ms = setting.delay_ms if setting.batch_size > 1 else 0
    return Point(throughput, 1_000 / throughput + wait_ms + 12 * setting.batch_size, 1_000 / throughput)


class Surface:
    """Measures it, with noise that shrinks with the time that is spent; counts what is asked.

    Args:
        noise: relative, of a run of a second.
    """

    def __init__(self, noise: float = 0.05, seed: int = 0) -> None:
        self.noise = noise
        self.dice = np.random.default_rng(seed)
        self.asked: list[tuple[Setting, int]] = []
        self.spent_s = 0.0

    def __call__(self, settings: Sequence[Setting], number: int, rung: Rung) -> dict[Setting, list[Point]]:
        found = {}
        for setting in settings:
            self.asked.append((setting, number))
            self.spent_s += 2 * rung.duration_s * rung.rounds
            found[setting] = [self._point(setting, rung.duration_s) for _ in range(rung.rounds)]
        return found

    def _point(self, setting: Setting, duration_s: float) -> Point:
        true = true_point(setting)
        rate, late = 1 + self.noise / math.sqrt(duration_s) * self.dice.standard_normal(2)
        return Point(true.throughput_hz * rate, true.p95_ms * late, true.cpu_ms)
