"""Every scenario that is shipped, through the command, against a real server; only shorter, and of the audio model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from loadtest.__main__ import main
from loadtest.measure.archive_copies import copy_archive
from loadtest.measure.results import LoadTest
from loadtest.runner.locust_driver import Driver, Target
from loadtest.workload.clips import find_clips, make_clips
from loadtest.workload.recording import read_recorded
from loadtest.workload.reference import FILE, reference_of
from loadtest.workload.scenario import KINDS, OWN_SETTINGS, Scenario, read_scenarios
from operations.server import PROJECT_DIR, TorchServe

MODEL = "audio"
SHORTER = {"rounds": 1, "warm_up_s": 0.5, "duration_s": 2.0, "max_trials": 1, "burst_at_s": 0.5, "burst_size": 4}
SHORTER |= {"n_files": 3, "callers": 2}


def shorter(scenario: Scenario) -> Scenario:
    """The same kind of load, of the audio model, in no time."""
    changed = {name: value for name, value in SHORTER.items() if scenario.kind in OWN_SETTINGS.get(name, KINDS)}
    duration_s = 12.0 if scenario.kind == "rollout" else 2.0  # a worker takes its time to start
    if scenario.kind == "single":
        changed["callers"] = 1
    return replace(scenario, **changed | {"models": {MODEL: 1.0}, "duration_s": duration_s, "quick": {}})


def written(directory: Path, *names: str) -> Path:
    """A file of these scenarios, shortened."""
    path = directory / "scenarios.yaml"
    path.write_text(yaml.safe_dump({name: shorter(read_scenarios()[name]).to_dict() for name in names}))
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those that `make loadtest` keeps, too, so they are made once; their reference is this module's own."""
    directory = tmp_path_factory.mktemp("clips")
    for path in make_clips(PROJECT_DIR / "build" / "loadtest" / "clips").values():
        shutil.copy(path, directory)
    return directory


@pytest.fixture(scope="module")
def own_server(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    """The audio model, and its second version in the model store."""
    directory = tmp_path_factory.mktemp("loadtest")
    store = directory / "store"
    store.mkdir()
    copy_archive(model_store / f"{MODEL}.mar", store / f"{MODEL}.mar", {})
    copy_archive(model_store / f"{MODEL}.mar", store / f"{MODEL}-2.0.mar", {}, "2.0")
    with TorchServe.private(directory / "server", store, [MODEL]).running() as server:
        yield server


@pytest.fixture
def environment(own_server: TorchServe, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """In which clients find the server's keys."""
    target = Target.of(own_server)
    for name, value in target.environment.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


def command(server: TorchServe, clips: Path, output: Path) -> list[str]:
    arguments = ["--server", server.inference, "--grpc-server", server.grpc_inference]
    return [*arguments, "--management", server.management, "--clips", str(clips), "--output", str(output)]


@pytest.fixture(scope="module")
def of_all(own_server, clips, tmp_path_factory) -> tuple[int, LoadTest, Path]:
    """What the command makes of all scenarios: its status, what it measured, and its folder."""
    output = tmp_path_factory.mktemp("output")
    path = written(output, *read_scenarios())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in Target.of(own_server).environment.items():
            patch.setenv(name, value)
        status = main([*command(own_server, clips, output), "--scenarios", str(path)])
    return status, LoadTest.load(output / "latest" / "loadtest.json"), output / "latest"


@pytest.mark.parametrize("name", list(read_scenarios()))
def test_a_shipped_scenario_gives_a_run(of_all, name):
    _, test, _ = of_all
    (run,) = [run for run in test.runs if run.scenario == name]
    assert run.samples
    assert run.n_failed == 0, run.outcomes
    assert not any("reference" in problem for problem in run.problems)
    assert all(sample.done_s > sample.sent_s >= sample.scheduled_s - 1e-6 for sample in run.samples)
    seen = Counter(sample.cache for sample in run.samples)
    if name == "cached":
        assert seen["hit"] > seen["miss"]
        assert seen["miss"] <= SHORTER["n_files"]
    else:
        assert seen["hit"] == 0
    if name == "burst":
        assert Counter(sample.scheduled_s for sample in run.samples).most_common(1)[0][1] >= 2
    if name == "rollout":
        assert run.samples[0].phase == "before"


def test_the_set_of_clips_was_judged_first(of_all, clips):
    _, test, _ = of_all
    first = test.runs[0]
    assert (first.scenario, first.problems) == ("reference", ())
    assert len(first.samples) == len(find_clips(clips))
    assert {sample.door for sample in first.samples} == {"http", "grpc"}
    assert len({sample.outcome for sample in first.samples}) > 2  # judged ones, and refusals of several kinds


def test_the_report_is_there_and_the_status_tells_what_it_says(of_all):
    status, test, folder = of_all
    assert {path.name for path in folder.iterdir()} >= {"index.html", "loadtest.json", "samples.csv", "benchmarks.md"}
    assert status == (0 if test.holds else 1)
    assert test.facts


def test_the_second_version_has_left_again(of_all, own_server):
    assert [served.version for served in own_server.management_api.versions(MODEL)] == ["1.0"]


@pytest.fixture
def altered(clips: Path, tmp_path: Path) -> Path:
    """The clips with a reference that calls the sample something else."""
    directory = tmp_path / "altered"
    shutil.copytree(clips, directory)
    reference_of(directory, [MODEL], [PROJECT_DIR / "archives" / f"{MODEL}.mar"])
    record = json.loads((directory / FILE).read_text())
    record["judgements"][MODEL]["sample"]["p_fake"] += 0.01
    (directory / FILE).write_text(json.dumps(record))
    return directory


def test_nothing_is_timed_where_the_server_does_not_say_what_the_reference_says(
    own_server, altered, environment, tmp_path, capsys
):
    path = written(tmp_path, "offline")
    assert main([*command(own_server, altered, tmp_path), "--scenarios", str(path)]) == 1
    (only,) = LoadTest.load(tmp_path / "latest" / "loadtest.json").runs
    assert only.problems == ("audio judges sample otherwise than the reference: wrong verdict",)


def test_another_verdict_under_load_makes_a_run_count_for_nothing(own_server, altered):
    driver = Driver(Target.of(own_server), altered)
    (run,) = driver.run(shorter(read_scenarios()["single"]))
    assert run.problems == (f"{len(run.samples)} of {len(run.samples)} answers are not those of the reference",)


def test_two_processes_of_callers_share_the_load(own_server, clips, environment, tmp_path):
    options = {
        "-f": PROJECT_DIR / "loadtest" / "locustfile.py",
        "--users": 4,
        "--spawn-rate": 100,
        "--run-time": "5s",
        "--stop-timeout": 30,
        "--processes": 2,
        "--host": own_server.inference,
        "--grpc-host": own_server.grpc_inference,
        "--scenario": "mixed",
        "--scenarios": written(tmp_path, "mixed"),
        "--clips": clips,
        "--rate": 8,
        "--samples": tmp_path / "samples",
    }
    argv = [sys.executable, "-m", "locust", "--headless", "--only-summary"]
    argv += [str(part) for option in options.items() for part in option]
    done = subprocess.run(argv, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2_000:]
    senders = [path for path in (tmp_path / "samples").iterdir() if '"sample"' in path.read_text()]
    recorded = read_recorded(tmp_path / "samples")
    assert len(senders) == 2
    assert len(recorded.starts_s) == 4
    assert {sample.door for sample in recorded.samples} == {"http", "grpc"}
    assert all(sample.is_well for sample in recorded.samples)


def test_wrong_usage_is_told_at_once(capsys):
    for arguments, said in (
        (["--scenario", "singel"], "there is no scenario singel; there are single, long"),
        (["--scenarios", "/nowhere.yaml"], "nowhere.yaml"),
        (["--server", "http://127.0.0.1:1", "--scenario", "rollout"], "say --management"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
