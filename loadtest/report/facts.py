"""Single figures of the scenarios, for a reader who looks at nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from loadtest.measure.results import Run
from loadtest.runner.rate_search import Bracket
from loadtest.workload.scenario import Scenario


def facts(
    runs: Sequence[Run],
    scenarios: Mapping[str, Scenario],
    brackets: Mapping[str, Bracket],
    in_process_ms: Mapping[str, float],
) -> dict[str, float]:
    """Name -> figure; the names carry the units.

    Args:
        runs: all of them; what does not count is left out.
        scenarios: that they are of, by name.
        brackets: model -> between which rates the `server` scenario stops keeping its latency.
        in_process_ms: model -> processor milliseconds of a clip without a server.
    """
    found: dict[str, float] = {}
    for run in runs:
        scenario = scenarios.get(run.scenario)
        if scenario is None or not run.is_valid:
            continue
        name = f"{run.scenario}, {run.label}"
        if scenario.kind == "single":
            found[f"{name}: p90, ms"] = 1e3 * run.percentile_s(90)
        elif scenario.kind == "offline":
            found[f"{name}: clips a second"] = run.throughput_hz
            found[f"{name}: CPU of a clip, ms"] = run.cpu_ms
        elif scenario.kind == "cached":
            n_hits, n_misses = (len(run.latencies_s(cache=outcome)) for outcome in ("hit", "miss"))
            found[f"{name}: hit ratio"] = n_hits / max(1, n_hits + n_misses)
            found |= {f"{name}: {cache} p50, ms": 1e3 * run.percentile_s(50, cache=cache) for cache in ("hit", "miss")}
        elif scenario.kind in ("burst", "rollout"):
            for phase in dict.fromkeys(sample.phase for sample in run.samples):
                found[f"{name}: p95 {phase}, ms"] = 1e3 * run.percentile_s(95, phase=phase)
    for label, bracket in brackets.items():
        (scenario,) = [each for each in scenarios.values() if each.kind == "server"]
        limit = f"95 of 100 within {scenario.slo_p95_s:g} s"
        found[f"{scenario.name}, {label}: largest rate with {limit}, 1/s"] = bracket.holds_hz
        if bracket.fails_hz < math.inf:
            found[f"{scenario.name}, {label}: a rate that is too high, 1/s"] = bracket.fails_hz
    found |= {f"a loop without a server, {model}: CPU of a clip, ms": value for model, value in in_process_ms.items()}
    return found
