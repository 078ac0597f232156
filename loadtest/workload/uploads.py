"""What the callers of a load test send, when, and what becomes of it; loadtest/locustfile.py sends it."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from client.padding import N_BYTES, unique
from loadtest.measure.results import JUDGED
from loadtest.workload.arrivals import poisson, with_burst, zipf
from loadtest.workload.clips import find_clips
from loadtest.workload.recording import Recorder
from loadtest.workload.reference import FILE as REFERENCE_FILE
from loadtest.workload.reference import TOLERANCE, WRONG_ANSWER, Judgement, read_reference
from loadtest.workload.scenario import Scenario, read_scenarios

BY_HAND = Scenario("by hand", "offline", "", {"ensemble": 1.0}, 1.0, doors={"http": 1.0, "grpc": 1.0})


class Work:
    """What the callers of this process share."""

    def __init__(self, options: Any) -> None:
        scenario = chosen_scenario(options)
        self.models = {options.model: 1.0} if options.model else dict(scenario.models)
        self.scenario: Scenario = scenario
        self.rate_hz = options.rate or scenario.rate_hz
        self.seed = options.random_seed
        self.n_callers = options.n_callers
        self.once = options.once
        one = dict.fromkeys(scenario.clips, Path(options.clip))
        paths = find_clips(Path(options.clips)) if options.clips else one
        self.clips = {name: paths[name].read_bytes() for name in scenario.clips}
        stored = Path(options.clips, REFERENCE_FILE)
        self.reference = read_reference(stored) if options.clips and stored.exists() else {}
        self.recorder = Recorder(Path(options.samples)) if options.samples else None
        self._indices = itertools.count()

    def source(self, worker_index: int) -> Source:
        """What the next caller sends, and when."""
        return Source(self, random.Random(f"{self.seed} {worker_index} {next(self._indices)}"))


def chosen_scenario(options: Any) -> Scenario:
    """The scenario of the options; without one, a closed loop over both doors."""
    if not options.scenario:
        return BY_HAND
    scenarios = read_scenarios(Path(options.scenarios))
    if options.scenario not in scenarios:
        raise SystemExit(f"--scenario is {options.scenario}; {options.scenarios} has {', '.join(scenarios)}")
    return scenarios[options.scenario]


class Upload(NamedTuple):
    """What is sent next; made before its time, so that making it is not measured.

    Attributes:
        expected: what the reference says of it; None where nobody knows.
    """

    model: str
    data: bytes
    sha256: str
    expected: Judgement | None

    @property
    def expected_outcome(self) -> str:
        return self.expected.outcome if self.expected else JUDGED


class Source:
    """The files of one caller, and the times of an open loop."""

    def __init__(self, work: Work, rng: random.Random) -> None:
        self.work, self.rng, self.scenario = work, rng, work.scenario
        self._rank = None
        if self.scenario.kind == "cached":
            self._rank = zipf(self.scenario.n_files, self.scenario.zipf_exponent, rng)

    def arrivals(self) -> Iterator[float]:
        """Seconds after the start; this caller's share of the rate."""
        due = poisson(self.work.rate_hz / self.work.n_callers, self.rng)
        if self.scenario.kind == "burst":
            at_s = self.scenario.warm_up_s + self.scenario.burst_at_s
            due = with_burst(due, at_s, round(self.scenario.burst_size / self.work.n_callers))
        end_s = self.scenario.warm_up_s + self.scenario.duration_s
        return itertools.takewhile(lambda due_s: due_s < end_s, due) if self.work.once else due

    def draw(self) -> Upload:
        """The next file and who is to judge it."""
        model = _drawn(self.work.models, self.rng)
        clip = _drawn(self.scenario.clips, self.rng)
        payload = None
        if self._rank:  # the same file for every caller, and another in every run
            payload = random.Random(f"{self.work.seed} {self._rank()}").randbytes(N_BYTES)
        data = unique(self.work.clips[clip], payload)
        expected = self.work.reference.get(model, {}).get(clip)
        return Upload(model, data, hashlib.sha256(data).hexdigest(), expected)


def outcome_of(answer: Mapping[str, Any], upload: Upload) -> str:
    """`judged`, an error code, or what is wrong with the answer."""
    if "error" not in answer and answer["sha256"] != upload.sha256:
        return WRONG_ANSWER
    return upload.expected.outcome_of(answer, TOLERANCE) if upload.expected else Judgement.of(answer).outcome


def problem_of(answer: Mapping[str, Any], upload: Upload) -> str | None:
    """What Locust is to count as a failure, if anything."""
    outcome = outcome_of(answer, upload)
    if outcome == upload.expected_outcome:
        return None
    return f"{outcome}: {answer['error']['message']}" if "error" in answer else outcome


def _drawn(weights: Mapping[str, float], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
