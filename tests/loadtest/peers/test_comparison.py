"""Turns, verdicts and medians, with candidates that run in this process; real ones are in tests/end_to_end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from loadtest.measure.process_tree import ProcessTree
from loadtest.peers.candidates import Candidate
from loadtest.peers.closed_loop import PeerError, Window
from loadtest.peers.comparison import Plan, Standing, compare, n_steps, p_fake_of, rotated

PLAN = Plan(n_in_flight=(1, 2), seconds=0.01, warm_up_s=0.01, n_repeats=2)


class Calm(Candidate):
    """Answers at once, the same each time."""

    name, package, options = "calm", "", "none"
    p_fake = 0.25
    calls: list[tuple[str, int]] = []

    def start(self) -> None:
        pass

    def wait_until_ready(self) -> None:
        pass

    @property
    def tree(self) -> ProcessTree:
        return ProcessTree(os.getpid())

    def measure(self, n_in_flight: int, seconds: float) -> Window:
        self.calls.append((self.name, n_in_flight))
        body = json.dumps({"probabilities": {"fake": self.p_fake}}).encode()
        return Window([1.0] * n_in_flight, 0.5, 0.1, [body] * n_in_flight)

    def stop(self) -> None:
        pass


class Other(Calm):
    name = "other"


class Deviating(Calm):
    name, p_fake = "deviating", 0.26


class Unstartable(Calm):
    name = "unstartable"

    def wait_until_ready(self) -> None:
        raise PeerError("it ended with 1")


class Drifting(Calm):
    """Judges otherwise once two are in flight and it is warm."""

    name = "drifting"

    def measure(self, n_in_flight: int, seconds: float) -> Window:
        window = super().measure(n_in_flight, seconds)
        if n_in_flight > 1 and seconds == PLAN.seconds and len(self.calls) > 8:
            window.answers[-1] = b'{"probabilities": {"fake": 0.9}}'
        return window


@pytest.fixture(autouse=True)
def no_calls(monkeypatch):
    monkeypatch.setattr(Calm, "calls", [])
    monkeypatch.setattr("loadtest.peers.comparison.REST_S", 0.05)


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"clip")
    return path


def run(clip: Path, *kinds: type[Candidate]) -> dict[str, Standing]:
    return {standing.candidate: standing for standing in compare("audio", kinds, clip, PLAN, lambda _: None)}


def test_contenders_take_turns_and_each_turn_another_begins(clip):
    standings = run(clip, Calm, Other)
    turns = Calm.calls[4:]  # after one request and the warm-up of each
    assert turns == [
        ("calm", 1), ("other", 1), ("calm", 2), ("other", 2),
        ("other", 1), ("calm", 1), ("other", 2), ("calm", 2),
    ]  # fmt: skip
    for standing in standings.values():
        assert {load: len(windows) for load, windows in standing.windows.items()} == {1: 2, 2: 2}
        assert not standing.problem
        assert standing.memory_bytes > 0


def test_who_judges_otherwise_or_does_not_start_is_left_out_and_the_others_go_on(clip):
    standings = run(clip, Calm, Deviating, Unstartable)
    assert standings["deviating"].problem == "its verdict differs: p_fake 0.26, ours 0.25"
    assert standings["unstartable"].problem == "it ended with 1"
    assert not standings["deviating"].windows
    assert not standings["calm"].problem
    assert len(standings["calm"].windows[1]) == 2


def test_a_verdict_that_changes_under_load_makes_the_row_invalid(clip):
    standings = run(clip, Calm, Drifting)
    assert "under load it answered 0.9, alone 0.25" in standings["drifting"].problem
    assert not standings["calm"].problem


def test_progress_counts_to_its_end(clip):
    steps: list[str] = []
    compare("audio", (Calm, Other), clip, PLAN, steps.append)
    assert len(steps) == n_steps(2, PLAN)


def test_figures_are_medians_with_the_smallest_and_largest_turn():
    windows = [Window([latency], 2.0, cpu_s, []) for latency, cpu_s in ((5.0, 0.1), (9.0, 0.4), (6.0, 0.2))]
    record = Standing("ours", "audio", "", 0.5, {1: windows}, memory_bytes=2**21).to_dict()
    (load,) = record["loads"]
    assert load["n_requests"] == 3
    assert load["p50_ms"] == {"median": 6.0, "min": 5.0, "max": 9.0}
    assert load["cpu_ms"] == pytest.approx({"median": 200.0, "min": 100.0, "max": 400.0})
    assert load["rate_rps"]["median"] == 0.5
    assert record["memory_mib"] == 2.0


@pytest.mark.parametrize(
    "answer", ['{"probabilities": {"fake": 0.4}}', json.dumps(['{"probabilities": {"fake": 0.4}}'])]
)
def test_a_verdict_is_found_bare_and_in_a_list(answer):
    assert p_fake_of(answer.encode()) == 0.4


@pytest.mark.parametrize("answer", ['{"error": {"code": "no_face"}}', "[]", "<html>", "[1]"])
def test_an_answer_without_a_verdict_is_shown(answer):
    with pytest.raises(PeerError, match="no verdict in"):
        p_fake_of(answer.encode())


def test_every_contender_begins_equally_often():
    kinds = [Calm, Other, Deviating]
    assert [rotated(kinds, turn)[0] for turn in range(6)] == kinds * 2
    assert rotated([], 1) == []


@pytest.mark.parametrize(
    "settings", [{"n_in_flight": ()}, {"n_in_flight": (0,)}, {"seconds": 0.0}, {"n_repeats": 0}], ids=str
)
def test_a_plan_names_what_is_wrong_with_it(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Plan(**settings)
