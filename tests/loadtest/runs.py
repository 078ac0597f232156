"""Load tests drawn by lot, for what reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtest.measure.results import LoadTest, Machine, Row, Run, Sample, Usage

MACHINE = Machine(
    "2 cores of <EPYC> & Co", 7.8, "", {"python": "3.11.9", "torch": "2.8.0"}, "2026-11-24", {"video": "ab12" * 16}
)
ROWS = (
    Row("video quantized", "latency p50", "ms", "0.5–1 s", 250, "<=", 193.2, (188.1, 201.4), "one | in flight"),
    Row("video quantized", "accuracy", "share", "84–94 %", 0.84, ">=", 0.598),
    Row("GPU", "times CPU", "", "3–5×", 3, ">=", None, None, "no GPU at hand"),
)


def drawn_run(
    scenario: str = "single",
    label: str = "alone",
    *,
    rate_hz: float | None = None,
    n: int = 60,
    cache: Sequence[str] = ("miss",),
    n_failed: int = 0,
    **others,
) -> Run:
    """A run whose requests take 0.2 s each, give or take, one after another; the first ones fail."""
    dice = np.random.default_rng(n)
    service_s = 0.2 * dice.lognormal(0, 0.2, n)
    sent_s = np.cumsum(dice.exponential(1 / rate_hz, n)) if rate_hz else np.cumsum(service_s) - service_s
    samples = tuple(
        Sample(
            "video",
            "http",
            at_s,
            at_s,
            at_s + took_s,
            "503 queue full" if index < n_failed else "judged",
            cache[index % len(cache)],
            {"decode": 0.5 * took_s, "faces": 0.2 * took_s, "forward": 0.2 * took_s},
            0.95 * took_s,
        )
        for index, (at_s, took_s) in enumerate(zip(sent_s.tolist(), service_s.tolist(), strict=True))
    )
    duration_s = samples[-1].done_s if samples else 1.0
    usage = tuple(Usage(float(at_s), 1.1 * float(at_s), 900 * 2**20) for at_s in np.arange(0, duration_s, 0.5))
    return Run(scenario, label, "video", duration_s, samples, usage, rate_hz=rate_hz, **others)


def drawn_test(**others) -> LoadTest:
    """Runs of several scenarios, a failed one and an empty one among them."""
    runs = (
        drawn_run(),
        *(
            drawn_run("server", f"{rate_hz:g}/s", rate_hz=rate_hz, n_failed=2, settings={"slo_ms": 500})
            for rate_hz in (1.0, 2.0, 4.0)
        ),
        drawn_run("cached", "zipf", cache=("hit", "miss"), n=2_000, notes=("a caller took 90 % of a core",)),
        drawn_run("offline", "nobody came", n=0, problems=("it sent <nothing>",)),
    )
    return LoadTest(MACHINE, False, "ten seconds of 720p", runs, ROWS, {"hit ratio": 0.5}, **others)
