"""All candidates under the same load, in turns."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.peers.candidates import Candidate
from loadtest.peers.closed_loop import PeerError, Window
from loadtest.peers.tiny_net import save_tiny_net
from loadtest.peers.workload import serving_of
from operations.server import ServerError

TOLERANCE = 1e-6  # of p_fake, which answers give to six digits
REST_S = 3.0


@dataclass(frozen=True)
class Plan:
    """How long and how often.

    Attributes:
        n_in_flight: requests under way, one row of the table each.
        seconds: of one turn under load.
        warm_up_s: of each candidate under full load before anything counts.
        n_repeats: turns of each candidate; figures are medians over them.
    """

    n_in_flight: tuple[int, ...] = (1, 8)
    seconds: float = 2.5
    warm_up_s: float = 4.0
    n_repeats: int = 3

    def __post_init__(self) -> None:
        if not self.n_in_flight or min(self.n_in_flight) < 1:
            raise ValueError(f"n_in_flight is {self.n_in_flight}; each must be at least 1")
        for name in ("seconds", "n_repeats"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


@dataclass
class Standing:
    """One candidate with one model.

    Attributes:
        p_fake: of the clip; None before it has answered.
        windows: in flight -> one for each turn.
        rest_ms_per_s: CPU milliseconds a second without any request.
        memory_bytes: the most that was seen after a turn, see `ProcessTree.memory_bytes`.
        problem: why its figures do not count; empty where they do.
    """

    candidate: str
    model: str
    options: str
    p_fake: float | None = None
    windows: dict[int, list[Window]] = field(default_factory=dict)
    rest_ms_per_s: float = 0.0
    memory_bytes: int = 0
    problem: str = ""

    def median(self, n_in_flight: int, figure: Callable[[Window], float]) -> float:
        """Of its turns at this load."""
        return statistics.median(figure(window) for window in self.windows[n_in_flight])

    def to_dict(self) -> dict:
        """Its figures as JSON values: medians, and the smallest and largest turn."""
        loads = []
        for n_in_flight, windows in self.windows.items():
            figures = {
                "rate_rps": lambda window: window.rate_rps,
                "p50_ms": lambda window: window.percentile_ms(0.5),
                "p95_ms": lambda window: window.percentile_ms(0.95),
                "cpu_ms": lambda window: window.cpu_ms,
            }
            load = {"n_in_flight": n_in_flight, "n_requests": sum(window.n_requests for window in windows)}
            for name, figure in figures.items():
                values = [figure(window) for window in windows]
                load[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
            loads.append(load)
        return {
            "candidate": self.candidate,
            "model": self.model,
            "options": self.options,
            "p_fake": self.p_fake,
            "loads": loads,
            "rest_ms_per_s": self.rest_ms_per_s,
            "memory_mib": self.memory_bytes / 2**20,
            "problem": self.problem,
        }


def p_fake_of(answer: bytes) -> float:
    """P(fake) in the body of an answer; BentoML wraps it in a list.

    Raises:
        PeerError: there is none, as in an error.
    """
    try:
        body = json.loads(answer)
        if isinstance(body, list):
            body = json.loads(body[0])
        return body["probabilities"]["fake"]
    except (ValueError, KeyError, TypeError, IndexError):
        raise PeerError(f"no verdict in {answer[:300].decode(errors='replace')}") from None


def compare(
    model: str, kinds: Sequence[type[Candidate]], clip: Path, plan: Plan, advance: Callable[[str], None]
) -> list[Standing]:
    """Starts every candidate, checks that all of them judge alike, and takes their figures in turns.

    One that fails gets its problem written down, and the others go on.

    Args:
        kinds: the first is the reference that verdicts are held against.
        advance: told what comes next, `n_steps` times at most.
    """
    standings = {kind: Standing(kind.name, model, f"{serving_of(model)}; {kind.options}") for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="peers-") as temporary, ExitStack() as running:
        directory = Path(temporary)
        if model == "tiny":
            save_tiny_net(directory)
        advance(f"{model}: starting")
        candidates = {}
        for number, kind in enumerate(kinds):
            candidate = kind(model, directory / str(number), clip)
            with _noting(standings[kind]):
                candidate.start()
                running.callback(_stop, candidate)
                candidates[kind] = candidate
        for kind in candidates:
            advance(f"{model}: {kind.name} warms up")
            with _noting(standings[kind]):
                candidates[kind].wait_until_ready()
                standings[kind].p_fake = p_fake_of(candidates[kind].measure(1, 0.0).answers[0])
                candidates[kind].measure(max(plan.n_in_flight), plan.warm_up_s)
        _hold_against(standings, kinds[0])
        sound = [kind for kind in kinds if not standings[kind].problem]
        _rest({kind: candidates[kind] for kind in sound}, standings)
        for turn in range(plan.n_repeats):
            for n_in_flight in plan.n_in_flight:
                for kind in rotated(sound, turn):
                    advance(f"{model}: {kind.name}, {n_in_flight} in flight, turn {turn + 1}")
                    with _noting(standings[kind]):
                        _take_turn(candidates[kind], standings[kind], n_in_flight, plan.seconds)
                sound = [kind for kind in sound if not standings[kind].problem]
    return list(standings.values())


def rotated(kinds: Sequence[type[Candidate]], turn: int) -> list[type[Candidate]]:
    """The order of a turn: each time another one begins."""
    start = turn % max(1, len(kinds))
    return [*kinds[start:], *kinds[:start]]


def n_steps(n_candidates: int, plan: Plan) -> int:
    """How often `compare` calls `advance` when nothing fails."""
    return 1 + n_candidates + n_candidates * len(plan.n_in_flight) * plan.n_repeats


def _take_turn(candidate: Candidate, standing: Standing, n_in_flight: int, seconds: float) -> None:
    window = candidate.measure(n_in_flight, seconds)
    standing.memory_bytes = max(standing.memory_bytes, candidate.tree.memory_bytes())
    standing.windows.setdefault(n_in_flight, []).append(window)
    for answer in window.answers:
        if abs(p_fake_of(answer) - standing.p_fake) > TOLERANCE:
            raise PeerError(f"under load it answered {p_fake_of(answer)}, alone {standing.p_fake}")


def _hold_against(standings: dict[type[Candidate], Standing], reference: type[Candidate]) -> None:
    expected = standings[reference].p_fake
    for standing in standings.values():
        if standing.p_fake is not None and expected is not None and abs(standing.p_fake - expected) > TOLERANCE:
            standing.problem = f"its verdict differs: p_fake {standing.p_fake}, ours {expected}"


def _rest(candidates: dict[type[Candidate], Candidate], standings: dict[type[Candidate], Standing]) -> None:
    """What each uses while nobody asks anything of any."""
    before_s = {kind: candidate.tree.cpu_s() for kind, candidate in candidates.items()}
    time.sleep(REST_S)
    for kind, candidate in candidates.items():
        standings[kind].rest_ms_per_s = 1e3 * (candidate.tree.cpu_s() - before_s[kind]) / REST_S


def _stop(candidate: Candidate) -> None:
    try:
        candidate.stop()
    except Exception as error:  # the others are still to be stopped
        print(f"{candidate.name} would not stop: {error}")


@contextmanager
def _noting(standing: Standing) -> Iterator[None]:
    """What goes wrong inside becomes the candidate's problem."""
    try:
        yield
    except (PeerError, ServerError, OSError) as error:
        standing.problem = str(error)
