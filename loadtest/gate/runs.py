"""The candidates of the perf-regression check, and how they take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import Progress

from loadtest.measure.results import Run
from loadtest.runner.load_loops import Load
from operations.server import TorchServe
from operations.settings import PROJECT_DIR

N_WARM_UP = 4


class GateError(RuntimeError):
    """It could not be measured; the message says why."""


def measure_in_turns(
    candidates: Mapping[str, TorchServe],
    models: Sequence[str],
    clip: bytes,
    *,
    n_rounds: int,
    n_requests: int,
    n_callers: int = 1,
    progress: Progress | None = None,
) -> dict[str, dict[str, list[Run]]]:
    """Runs by candidate and model, a run a round; in every round each candidate has its turn, and each begins in turn.

    Raises:
        GateError: a request was not judged.
    """
    loads = {
        (name, model): Load(server, model, clip, f"gate, {model}")
        for name, server in candidates.items()
        for model in models
    }
    runs: dict[str, dict[str, list[Run]]] = {name: {model: [] for model in models} for name in candidates}
    bar = progress.add_task("", total=n_rounds * len(loads)) if progress else None
    for load in loads.values():
        _checked(load.closed("warm-up", n_requests=N_WARM_UP, n_callers=n_callers))
    for number in range(n_rounds):
        names = list(candidates)[:: 1 if number % 2 else -1]
        for model in models:
            for name in names:
                if progress and bar is not None:
                    progress.update(bar, description=f"{model}, {name}")
                label = f"{name}, {number + 1}"
                run = loads[name, model].closed(label, n_requests=n_requests, n_callers=n_callers)
                runs[name][model].append(_checked(run))
                if progress and bar is not None:
                    progress.advance(bar)
    return runs


def other_archives(against: str, models: Sequence[str], folder: Path) -> Path:
    """The model store to compare with: a folder as it is, or archives of the code of a git revision.

    They hold today's exported models, so that the code is what differs.

    Raises:
        GateError: it is neither, an archive is missing, or that revision does not build.
    """
    store = Path(against)
    if not store.is_dir():
        git = ["git", "-C", str(PROJECT_DIR)]
        if subprocess.run(
            [*git, "rev-parse", "--verify", "--quiet", f"{against}^{{commit}}"], stdout=subprocess.DEVNULL
        ).returncode:
            raise GateError(f"{against} is neither a folder of archives nor a git revision")
        sources, store = folder / "sources", folder / "store"
        sources.mkdir(parents=True)
        packed = subprocess.run([*git, "archive", against], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(sources)], input=packed, check=True)
        command = [sys.executable, "-m", "archives.build", *models, "--output", str(store)]
        command += ["--artifacts", str(PROJECT_DIR / "build" / "artifacts")]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        built = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True)
        if built.returncode:
            raise GateError(f"{against} does not build with the exported models of today:\n{built.stderr[-2_000:]}")
    if missing := [model for model in models if not (store / f"{model}.mar").exists()]:
        raise GateError(f"there is no {', '.join(f'{model}.mar' for model in missing)} in {store}")
    return store


def _checked(run: Run) -> Run:
    if run.problems:
        raise GateError(f"{run.scenario}, {run.label}: {'; '.join(run.problems)}")
    return run
