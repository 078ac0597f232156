"""Our archive, its peers and the in-process baseline judge the sample alike, behind servers that really run."""

from __future__ import annotations

import pytest

from loadtest.peers.__main__ import main
from loadtest.peers.candidates import PEERS_PYTHON
from loadtest.peers.report import Report

BRIEFLY = ["--models", "audio", "--in-flight", "2", "--seconds", "0.2", "--repeats", "1"]


def measured(tmp_path, *candidates: str) -> Report:
    status = main([*BRIEFLY, "--candidates", *candidates, "--output", str(tmp_path)])
    report = Report.load(tmp_path)
    assert not report.problems
    assert status == 0
    return report


def test_our_server_judges_as_the_in_process_loop_does_and_costs_more(tmp_path):
    report = measured(tmp_path, "ours", "in-process")
    ours, in_process = report.standings
    assert ours["p_fake"] == in_process["p_fake"] is not None
    for standing in report.standings:
        (load,) = standing["loads"]
        assert load["n_requests"] >= 2
        assert 0 < load["p50_ms"]["median"] <= load["p95_ms"]["median"]
        assert load["cpu_ms"]["median"] > 0
    assert ours["memory_mib"] > in_process["memory_mib"] > 50
    assert "audio.mar" in report.markdown()


@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="needs .venv-peers, which `make peers` makes")
@pytest.mark.parametrize("peer", ["litserve", "bentoml", "ray"])
def test_a_peer_judges_as_the_in_process_loop_does(tmp_path, peer):
    served, in_process = measured(tmp_path, peer, "in-process").standings
    assert served["p_fake"] == in_process["p_fake"] is not None
    assert served["loads"][0]["n_requests"] >= 2
