"""What one load is like, as config/scenarios.yaml describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from loadtest.workload.clips import NAMES as CLIPS

SCENARIOS_FILE = Path(__file__).resolve().parents[2] / "config" / "scenarios.yaml"
KINDS = ("single", "server", "offline", "burst", "cached", "mixed", "rollout")
OPEN_KINDS = ("server", "burst", "mixed", "rollout")
DOORS = ("http", "grpc")
# Settings that mean something to these kinds alone.
OWN_SETTINGS = {
    "rate_hz": OPEN_KINDS,
    "slo_p95_s": ("server",),
    "precision": ("server",),
    "max_trials": ("server",),
    "burst_at_s": ("burst",),
    "burst_size": ("burst",),
    "n_files": ("cached",),
    "zipf_exponent": ("cached",),
}
START_S = 3.0  # what starting and stopping the callers adds to a run, roughly


class ScenarioError(ValueError):
    """A scenario cannot be run; the message names the setting and what is allowed."""


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    In a closed loop (`single`, `offline`, `cached`) callers wait for an answer before they ask again. In an open one
    requests come at times that do not depend on the server, as those of people who do not know of each other do, and
    latency counts from these times.

    Attributes:
        name: by which it is asked for.
        kind: what is done with it: see config/scenarios.yaml.
        about: one sentence for a reader.
        models: name -> weight. `mixed` draws from them for each request; every other kind runs each in turn.
        clips: name -> weight, drawn for each request; those of loadtest/workload/clips.py.
        doors: `http` and `grpc` -> weight, by which callers are divided.
        callers: who wait for their answers, in a closed loop; independent sources of requests, in an open one.
        duration_s: of the measured part.
        warm_up_s: of the same load before that, which is not measured.
        rounds: how often it is repeated, all models in turns.
        rate_hz: of all sources of an open loop together; of a `server`, the first rate that is tried.
        slo_p95_s: latency that 95 of 100 requests must keep, errors and failures counted as late.
        precision: of a `server`: the search ends between two rates that differ by this factor.
        max_trials: it ends after so many rates, too.
        burst_at_s: when, after the start of the measured part, `burst_size` requests come at once.
        n_files: different files of `cached`.
        zipf_exponent: the k-th most wanted one comes k**-zipf_exponent times as often as the first.
        quick: settings that differ where a figure is wanted soon rather than good.
    """

    name: str
    kind: str
    about: str
    models: Mapping[str, float]
    duration_s: float
    clips: Mapping[str, float] = field(default_factory=lambda: {"sample": 1.0})
    doors: Mapping[str, float] = field(default_factory=lambda: {"http": 1.0})
    callers: int = 1
    warm_up_s: float = 1.0
    rounds: int = 1
    rate_hz: float | None = None
    slo_p95_s: float | None = None
    precision: float = 1.1
    max_trials: int = 8
    burst_at_s: float | None = None
    burst_size: int | None = None
    n_files: int | None = None
    zipf_exponent: float = 1.0
    quick: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._one_of("kind", KINDS)
        for name, known in (("models", None), ("clips", CLIPS), ("doors", DOORS)):
            self._weights(name, known)
        for name in ("callers", "rounds", "max_trials"):
            self._at_least(name, 1)
        for name in ("duration_s", "rate_hz", "slo_p95_s", "zipf_exponent"):
            self._above(name, 0)
        self._above("precision", 1)
        for name in ("warm_up_s", "burst_at_s"):
            self._at_least(name, 0)
        for name in ("burst_size", "n_files"):
            self._at_least(name, 1)
        for entry in fields(self):
            kinds = OWN_SETTINGS.get(entry.name, KINDS)
            if self.kind not in kinds and getattr(self, entry.name) != entry.default:
                self._refuse(entry.name, f"is for {_listed(kinds)} alone; leave it out")
            if self.kind in kinds and getattr(self, entry.name) is None:
                self._refuse(entry.name, f"is missing; {self.kind} needs it")
        if self.burst_at_s is not None and self.burst_at_s >= self.duration_s:
            self._refuse("burst_at_s", f"is {self.burst_at_s}; it must be below duration_s, {self.duration_s}")

    @classmethod
    def from_dict(cls, name: str, record: Mapping[str, Any]) -> Scenario:
        """A section of the file.

        Raises:
            ScenarioError: a setting is unknown, missing or out of range.
        """
        allowed = [entry.name for entry in fields(cls) if entry.name != "name"]
        needed = ("kind", "about", "models", "duration_s")
        values = dict(record)
        quick = values.get("quick") or {}
        for where, given in (("", values), ("quick.", quick)):
            if unknown := sorted(set(given) - set(allowed)):
                raise ScenarioError(f"scenario {name}: {where}{unknown[0]} is unknown; allowed: {', '.join(allowed)}")
        if missing := [key for key in needed if key not in values]:
            raise ScenarioError(f"scenario {name}: {missing[0]} is missing; needed: {', '.join(needed)}")
        for key in ("models", "clips", "doors"):
            if isinstance(values.get(key), list):  # names alone weigh the same
                values[key] = dict.fromkeys(values[key], 1.0)
        try:
            return cls(name=name, **values)
        except TypeError as error:  # such as a text where a number is compared
            raise ScenarioError(f"scenario {name}: a value has the wrong type: {error}") from error

    @property
    def is_open(self) -> bool:
        return self.kind in OPEN_KINDS

    @property
    def label(self) -> str:
        """Who is asked, in one word."""
        return "mixed" if self.kind == "mixed" and len(self.models) > 1 else next(iter(self.models))

    def quickly(self) -> Scenario:
        """The same, with its quick settings."""
        return Scenario.from_dict(self.name, self.to_dict() | dict(self.quick) | {"quick": {}})

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "name"}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}

    def each(self) -> list[Scenario]:
        """The scenario for each model that it runs by itself."""
        if self.kind == "mixed":
            return [self]
        return [replace(self, models={model: 1.0}) for model in self.models]

    @property
    def expected_s(self) -> float:
        """About how long all its runs take."""
        n_runs = self.rounds * len(self.each()) * (self.max_trials - 1 if self.kind == "server" else 1)
        return n_runs * (START_S + self.warm_up_s + self.duration_s)

    def _refuse(self, name: str, what: str) -> None:
        raise ScenarioError(f"scenario {self.name}: {name} {what}")

    def _one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        if getattr(self, name) not in allowed:
            self._refuse(name, f"is {getattr(self, name)!r}; allowed: {', '.join(allowed)}")

    def _at_least(self, name: str, least: float) -> None:
        value = getattr(self, name)
        if value is not None and not value >= least:
            self._refuse(name, f"is {value}; it must be at least {least}")

    def _above(self, name: str, least: float) -> None:
        value = getattr(self, name)
        if value is not None and not value > least:
            self._refuse(name, f"is {value}; it must be above {least}")

    def _weights(self, name: str, allowed: tuple[str, ...] | None) -> None:
        weights = getattr(self, name)
        if not isinstance(weights, Mapping) or not weights:
            self._refuse(name, f"is {weights!r}; it must map names to weights, or list names")
        for key, weight in weights.items():
            if allowed and key not in allowed:
                self._refuse(name, f"has {key!r}; allowed: {', '.join(allowed)}")
            if not (isinstance(weight, int | float) and weight > 0):
                self._refuse(name, f"gives {key} the weight {weight!r}; it must be above 0")


def read_scenarios(path: Path = SCENARIOS_FILE) -> dict[str, Scenario]:
    """All scenarios of a file, by name, in its order.

    Raises:
        ScenarioError: one of them is wrong, or the file is no YAML mapping.
        OSError: the file cannot be read.
    """
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: {error}") from error
    if not isinstance(record, Mapping) or not all(isinstance(entry, Mapping) for entry in record.values()):
        raise ScenarioError(f"{path} must map the name of each scenario to its settings")
    scenarios = {name: Scenario.from_dict(name, entry) for name, entry in record.items()}
    for scenario in scenarios.values():
        scenario.quickly()  # refused now rather than when somebody is in a hurry
    return scenarios


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + (" and " if names[:-1] else "") + names[-1]
