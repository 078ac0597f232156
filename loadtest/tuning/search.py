"""Which settings are worth measuring, and for how long: successive halving over a frontier.

All of a small, even draw from the grid are measured briefly; of the best, and of neighbours of theirs that were not
tried yet, longer; the finalists in turns, several times. The best are those of the frontier of throughput against
latency, not of one figure, which is why a common library's pruner does not do: Optuna's prune by a single objective.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from loadtest.tuning.pareto import Point, ordered
from loadtest.tuning.space import Setting, Space

BETTER = 1.03  # a throughput that is to replace the present one must be so many times as large


@dataclass(frozen=True)
class Rung:
    """One stage of the search.

    Attributes:
        keep: how many of the settings measured so far go on; of the first rung, how many are drawn.
        explore: how many of their untried neighbours join them.
        duration_s: of each of the two loads.
        rounds: how often all of them are measured, in turns.
        until: share of the whole time after which nothing more is begun in it, so that a slow machine tries less.
    """

    keep: int
    duration_s: float
    explore: int = 0
    rounds: int = 1
    until: float = 1.0


RUNGS = (
    Rung(12, 2.5, until=0.35),
    Rung(4, 4.0, explore=4, until=0.53),
    Rung(3, 5.0, explore=3, until=0.68),
    Rung(3, 7.0, rounds=3),
)
QUICK_RUNGS = (Rung(4, 1.5, until=0.5), Rung(2, 3.0, rounds=2))

# Measures settings in turns, so many rounds of a rung; returns a point for each round, by setting. Where time is short
# it may leave out rounds but the first, and settings but the first, which is the incumbent.
Measure = Callable[[Sequence[Setting], int, Rung], dict[Setting, list[Point]]]


@dataclass
class Search:
    """What was found.

    Attributes:
        incumbent: the setting in force; it takes part in every rung.
        trials: setting -> rung -> its rounds.
    """

    incumbent: Setting
    slo_ms: float | None = None
    trials: dict[Setting, dict[int, list[Point]]] = field(default_factory=dict)

    def run(self, space: Space, measure: Measure, rungs: Sequence[Rung] = RUNGS, seed: int = 1) -> None:
        """Goes through all rungs."""
        for number, rung in enumerate(rungs):
            for setting, rounds in measure(self.candidates(space, number, rung, seed), number, rung).items():
                self.trials.setdefault(setting, {})[number] = rounds

    def candidates(self, space: Space, number: int, rung: Rung, seed: int = 1) -> list[Setting]:
        """Whom a rung measures, the incumbent first."""
        if number == 0:
            return _unique([self.incumbent, *space.start(rung.keep, seed)])
        best = self.best(rung.keep)
        dice = random.Random(f"{seed} {number}")
        fresh = [each for each in self._neighbours(space, best, dice) if each not in self.trials]
        return _unique([self.incumbent, *best, *fresh[: rung.explore]])

    def best(self, n: int | None = None) -> list[Setting]:
        """The settings in order, the best first; those that went further before those that were pruned."""
        settings = list(self.trials)
        reached = {setting: max(self.trials[setting]) for setting in settings}
        order: list[Setting] = []
        for rung in sorted(set(reached.values()), reverse=True):
            of_rung = [setting for setting in settings if reached[setting] == rung]
            order += [of_rung[index] for index in ordered([self.point(each) for each in of_rung], self.slo_ms)]
        return order[:n]

    def point(self, setting: Setting) -> Point:
        """Medians over the rounds of the last rung that a setting took part in."""
        rounds = self.rounds(setting)
        return Point(
            median(point.throughput_hz for point in rounds),
            median(point.p95_ms for point in rounds),
            median(point.cpu_ms for point in rounds),
        )

    def rounds(self, setting: Setting) -> list[Point]:
        return self.trials[setting][max(self.trials[setting])]

    @property
    def finalists(self) -> list[Setting]:
        """Those that were measured to the end."""
        last = max(rung for rungs in self.trials.values() for rung in rungs)
        return [setting for setting, rungs in self.trials.items() if last in rungs]

    def chosen(self) -> Setting:
        """The finalist of the largest throughput that keeps the SLO, if it beats the incumbent beyond noise.

        Where all throughputs are the same within noise, the lowest latency counts; where nobody keeps the SLO, too.
        """
        keeping = [setting for setting in self.finalists if self._keeps_slo(setting)]
        if not keeping:
            return min(self.finalists, key=lambda setting: self.point(setting).p95_ms)
        rivals = [setting for setting in keeping if setting != self.incumbent]
        if self.incumbent not in keeping:
            return max(rivals, key=lambda setting: self.point(setting).throughput_hz)
        faster = [setting for setting in rivals if self._is_faster(setting)]
        if faster:
            return max(faster, key=lambda setting: self.point(setting).throughput_hz)
        sooner = [setting for setting in rivals if self._is_sooner(setting)]
        return min(sooner, key=lambda setting: self.point(setting).p95_ms) if sooner else self.incumbent

    def _keeps_slo(self, setting: Setting) -> bool:
        return self.slo_ms is None or self.point(setting).p95_ms <= self.slo_ms

    def _is_faster(self, setting: Setting) -> bool:
        """In its slowest round still faster than the incumbent in its fastest one."""
        slowest = min(point.throughput_hz for point in self.rounds(setting))
        fastest = max(point.throughput_hz for point in self.rounds(self.incumbent))
        ratio = self.point(setting).throughput_hz / self.point(self.incumbent).throughput_hz
        return slowest > fastest and ratio >= BETTER

    def _is_sooner(self, setting: Setting) -> bool:
        """A lower p95 in its latest round than the incumbent's in its best, at no loss of throughput."""
        latest = max(point.p95_ms for point in self.rounds(setting))
        best = min(point.p95_ms for point in self.rounds(self.incumbent))
        ratio = self.point(setting).throughput_hz / self.point(self.incumbent).throughput_hz
        return latest < best and BETTER * ratio >= 1

    def _neighbours(self, space: Space, settings: Sequence[Setting], dice: random.Random) -> list[Setting]:
        """Neighbours of all of them, one of each in turn; which one first, is drawn."""
        near = [space.neighbours(setting) for setting in settings]
        lists = [dice.sample(each, len(each)) for each in near]
        longest = max(map(len, lists), default=0)
        return _unique([each[place] for place in range(longest) for each in lists if place < len(each)])


def _unique(settings: Sequence[Setting]) -> list[Setting]:
    return list(dict.fromkeys(settings))
