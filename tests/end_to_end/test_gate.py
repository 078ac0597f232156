"""The gate passes on what is the same, and fails on a handler that was made slower on purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archives.build import build_archive
from loadtest.gate.comparison import Finding, Series, compare, confirmed
from loadtest.gate.runs import measure_in_turns
from operations.server import PROJECT_DIR, TorchServe
from tests.changed_sources import changed_sources

MODEL = "audio"
N_ROUNDS, N_REQUESTS = 6, 8
DOCSTRING = '"""One body for each row, in order; the statuses are set on the context."""'
BURN = """
        until = time.process_time() + 0.03
        while time.process_time() < until:
            pass"""


@pytest.fixture(scope="module")
def slowed(artifacts_dir, tmp_path_factory) -> Iterator[TorchServe]:
    """A server whose handler burns 30 ms of processor time on every batch; no setting of ours does that."""
    directory = tmp_path_factory.mktemp("slowed")
    root = changed_sources(directory / "sources", "handlers/base.py", DOCSTRING, DOCSTRING + BURN)
    declared = json.loads((PROJECT_DIR / "archives" / "manifest.json").read_text())["archives"][MODEL]
    build_archive(MODEL, declared, "1.0", directory / "store", artifacts_dir, root)
    with TorchServe.private(directory / "server", directory / "store", [MODEL]).running() as server:
        yield server


def judge(base: TorchServe, now: TorchServe, clip: bytes) -> list[Finding]:
    """As the gate does: a second series where the first one finds something worse."""

    def findings() -> list[Finding]:
        candidates = {"baseline": base, "now": now}
        runs = measure_in_turns(candidates, [MODEL], clip, n_rounds=N_ROUNDS, n_requests=N_REQUESTS)
        series = {name: Series.of(each[MODEL]) for name, each in runs.items()}
        return compare(MODEL, series["baseline"], series["now"], in_turns=True)

    first = findings()
    return confirmed(first, findings()) if any(each.verdict == "worse" for each in first) else first


def test_thirty_milliseconds_more_are_found(server, slowed, sample_clip: Path):
    cpu, p95 = judge(server, slowed, sample_clip.read_bytes())
    assert cpu.verdict == "worse", (cpu, p95)
    assert cpu.now - cpu.base > 15  # ms; 30 and what chance takes off


def test_the_same_server_is_not_worse_than_itself(server, sample_clip: Path):
    findings = judge(server, server, sample_clip.read_bytes())
    assert [each for each in findings if each.verdict == "worse"] == []
