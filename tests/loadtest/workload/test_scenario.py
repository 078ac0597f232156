"""Scenarios as they are shipped, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.workload.scenario import KINDS, Scenario, ScenarioError, read_scenarios

SCENARIOS = read_scenarios()
SINGLE = {"kind": "single", "about": "one", "models": ["video"], "duration_s": 1}
SERVER = SINGLE | {"kind": "server", "rate_hz": 2, "slo_p95_s": 1.0}
BURST = SINGLE | {"kind": "burst", "rate_hz": 2, "burst_at_s": 0.5, "burst_size": 4}


def test_every_kind_is_shipped_and_all_of_them_fit_their_time():
    assert {scenario.kind for scenario in SCENARIOS.values()} == set(KINDS)
    assert sum(scenario.expected_s for scenario in SCENARIOS.values()) < 14 * 60
    assert sum(scenario.quickly().expected_s for scenario in SCENARIOS.values()) < 2 * 60


def test_a_scenario_comes_back_as_it_was_written():
    for scenario in SCENARIOS.values():
        assert Scenario.from_dict(scenario.name, scenario.to_dict()) == scenario


def test_names_alone_weigh_the_same():
    scenario = Scenario.from_dict("a", SINGLE | {"models": ["video", "audio"]})
    assert scenario.models == {"video": 1.0, "audio": 1.0}
    assert [dict(each.models) for each in scenario.each()] == [{"video": 1.0}, {"audio": 1.0}]


def test_a_mix_is_one_run_and_other_kinds_run_each_model():
    mixed = SCENARIOS["mixed"]
    assert mixed.each() == [mixed]
    assert [each.label for each in SCENARIOS["single"].each()] == list(SCENARIOS["single"].models)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (SINGLE | {"kind": "singel"}, "kind is 'singel'; allowed: single, server"),
        (SINGLE | {"callrs": 2}, "callrs is unknown; allowed: kind, about, models"),
        (SINGLE | {"quick": {"duratoin_s": 1}}, "quick.duratoin_s is unknown"),
        ({"kind": "single", "about": "", "models": ["video"]}, "duration_s is missing"),
        (SINGLE | {"duration_s": 0}, "duration_s is 0; it must be above 0"),
        (SINGLE | {"duration_s": "long"}, "wrong type"),
        (SINGLE | {"callers": 0}, "callers is 0; it must be at least 1"),
        (SINGLE | {"models": []}, "models is {}; it must map names to weights"),
        (SINGLE | {"models": {"video": 0}}, "models gives video the weight 0; it must be above 0"),
        (SINGLE | {"clips": ["sampel"]}, "clips has 'sampel'; allowed: sample, short"),
        (SINGLE | {"doors": {"ftp": 1}}, "doors has 'ftp'; allowed: http, grpc"),
        (SINGLE | {"rate_hz": 2}, "rate_hz is for server, burst, mixed and rollout alone"),
        (SINGLE | {"slo_p95_s": 2}, "slo_p95_s is for server alone"),
        ({name: value for name, value in SERVER.items() if name != "slo_p95_s"}, "slo_p95_s is missing; server needs"),
        (SERVER | {"precision": 1}, "precision is 1; it must be above 1"),
        (BURST | {"burst_at_s": 3}, "burst_at_s is 3; it must be below duration_s"),
        (SINGLE | {"kind": "cached"}, "n_files is missing; cached needs it"),
    ],
)
def test_what_is_wrong_is_named(record: dict, said: str):
    with pytest.raises(ScenarioError, match="scenario busy") as caught:
        Scenario.from_dict("busy", record)
    assert said in str(caught.value)


def test_a_file_that_is_no_list_of_scenarios_is_refused(tmp_path: Path):
    path = tmp_path / "scenarios.yaml"
    for text in ("- single\n", "single: 3\n", "a: [\n"):
        path.write_text(text)
        with pytest.raises(ScenarioError):
            read_scenarios(path)


def test_quick_settings_are_checked_before_anybody_is_in_a_hurry(tmp_path: Path):
    path = tmp_path / "scenarios.yaml"
    path.write_text("a: {kind: single, about: one, models: [video], duration_s: 1, quick: {duration_s: -1}}\n")
    with pytest.raises(ScenarioError, match="duration_s is -1"):
        read_scenarios(path)
