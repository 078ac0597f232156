from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from deepdetect.cli import _parser
from deepdetect.screening import judge, parts
from deepdetect.screening.engines import Work
from deepdetect.screening.places import list_entries, open_place
from deepdetect.screening.run import make_plan, screen
from tests.deepdetect.screening.engines import FatalLocalEngine, FatalRayEngine

PROJECT_DIR = Path(__file__).resolve().parents[3]
COMMAND = (sys.executable, "-m", "deepdetect.cli", "screen")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], cwd=PROJECT_DIR, capture_output=True, text=True)


def rows_of(output: Path) -> list[dict]:
    """Every row, as it is found: nothing is left out that stands twice."""
    tables = [pq.read_table(path) for path in sorted((output / "parts").glob("*.parquet"))]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["path"])


def results(rows: list[dict]) -> list[dict]:
    return [{name: row[name] for name in judge.RESULT_COLUMNS} for row in rows]


def test_one_row_a_file_and_none_is_judged_twice(catalogue, tmp_path):
    folder, output = catalogue(12), tmp_path / "out"
    options = (folder, "--output", output, "--shard-files", "5", "--workers", "1")
    dry = run(*options, "--dry-run")
    assert (dry.returncode, output.exists()) == (0, False)
    assert "12 files listed, 0 judged before, 12 to judge" in dry.stderr

    assert run(*options).returncode == 1  # text files and empty ones were refused
    rows = rows_of(output)
    assert [row["path"] for row in rows] == [entry.path for entry in list_entries([str(folder)])]
    assert {row["error_code"] for row in rows} == {None, "unknown_container", "empty_body"}
    judged = [row for row in rows if row["error_code"] is None]
    assert {row["file_type"] for row in judged} == {"video", "audio"}
    for row in judged:
        assert 0 <= row["p_fake"] <= 1
        assert row["prediction"] == ("Fake" if row["p_fake"] >= row["threshold"] else "Real")
    manifest = json.loads((output / "_manifest.json").read_text())
    assert (manifest["status"], manifest["summary"]["rows"]) == ("complete", 12)
    page = (output / "review.html").read_text()
    assert page.count("data:image/jpeg;base64,") == sum(row["file_type"] == "video" for row in judged)

    again = run(*options)
    assert "12 judged before, 0 to judge" in again.stderr
    assert rows_of(output) == rows

    retried = run(*options, "--retry-errors")
    assert "6 judged before, 6 to judge" in retried.stderr
    assert {row["attempt"] for row in rows_of(output) if row["error_code"]} == {1, 2}
    other = run(*options, "--frames", "2")
    assert "0 judged before, 12 to judge" in other.stderr
    weights = PROJECT_DIR / "weights" / "audio-light" / "model.safetensors"
    other_model = run(*options, "--audio-model", weights, "--dry-run")
    assert "0 judged before, 12 to judge" in other_model.stderr


def test_a_run_that_was_killed_goes_on_where_it_stopped(catalogue, tmp_path):
    folder, output = catalogue(48), tmp_path / "out"
    options = [*COMMAND, str(folder), "--output", str(output), "--shard-files", "4", "--workers", "1"]
    process = subprocess.Popen(options, cwd=PROJECT_DIR, start_new_session=True, stderr=subprocess.DEVNULL)
    until_s = time.monotonic() + 120
    while len(list((output / "parts").glob("*.parquet"))) < 3 and time.monotonic() < until_s:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = rows_of(output)
    assert 12 <= len(before) < 48

    assert run(*options[len(COMMAND) :]).returncode == 1
    rows = rows_of(output)
    assert len(rows) == len({row["path"] for row in rows}) == 48
    kept = {row["path"]: row["run_id"] for row in before}
    assert all(row["run_id"] == kept[row["path"]] for row in rows if row["path"] in kept)


@pytest.mark.parametrize("engine", [FatalLocalEngine, FatalRayEngine])
def test_a_file_that_kills_its_worker_is_the_only_one_that_crashed(engine, catalogue, contents, tmp_path):
    if engine is FatalRayEngine:
        pytest.importorskip("ray", reason="needs the extra [ray]: make screen-test")
    folder, output = catalogue(8), open_place(str(tmp_path / "out"))
    (folder / "fatal.mp4").write_bytes(contents[".mp4"])
    listed = list_entries([str(folder)])
    settings = judge.ModelSettings()
    plan = make_plan(output, listed, {}, judge.options_text({}), judge.model_digest(settings), 5)
    runner = engine(Work(settings, str(output), "run"), 2)
    try:
        outcome = screen(plan, output, runner, lambda _: None)
    finally:
        runner.close()
    assert not outcome.missing
    crashed = [row["path"] for row in outcome.rows if row["error_code"] == judge.CRASHED]
    assert crashed == [str(folder / "fatal.mp4")]
    assert len(outcome.rows) == len(listed) == 9
    assert parts.missing(listed, parts.read_rows(output, plan.model_digest, plan.options_text)) == []


def test_ray_gives_the_rows_that_this_machine_gives(catalogue, tmp_path):
    pytest.importorskip("ray", reason="needs the extra [ray]: make screen-test")
    folder = catalogue(16)
    for engine in ("local", "ray"):
        done = run(folder, "--output", tmp_path / engine, "--engine", engine, "--shard-files", "4", "--workers", "2")
        assert done.returncode == 1, done.stderr
    assert results(rows_of(tmp_path / "local")) == results(rows_of(tmp_path / "ray"))


def test_after_a_node_is_killed_a_run_is_complete_or_says_that_it_is_not(catalogue, tmp_path):
    utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra [ray]: make screen-test")
    folder, output = catalogue(40), tmp_path / "out"
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        options = [folder, "--output", output, "--engine", "ray", "--shard-files", "4", "--workers", "2"]
        options += ["--address", cluster.address]
        process = subprocess.Popen([*COMMAND, *map(str, options)], cwd=PROJECT_DIR, stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + 200
        while not list((output / "parts").glob("*.parquet")) and time.monotonic() < until_s:
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)
        assert process.wait(240) in (1, 3)
        if process.returncode == 3:
            assert run(*options).returncode == 1
        rows = rows_of(output)
        assert len(rows) == len({row["path"] for row in rows}) == 40
        assert {row["error_code"] for row in rows} == {None, "unknown_container", "empty_body"}
    finally:
        cluster.shutdown()


def test_wrong_usage_is_status_2_and_names_what_is_wrong(tmp_path):
    for arguments, told in (
        ((tmp_path / "nothing", "--output", tmp_path / "out"), "no file is there"),
        ((PROJECT_DIR / "LICENSE", "--output", "ftp://host/out"), "allowed: a path, s3://"),
        ((PROJECT_DIR / "LICENSE", "--output", tmp_path / "out", "--frames", "many"), "frames"),
        ((PROJECT_DIR / "LICENSE", "--output", tmp_path / "out", "--shard-files", "0"), "below 1"),
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_the_manifest_for_kuberay_gives_a_command_that_is_understood():
    manifest = yaml.safe_load((PROJECT_DIR / "deploy" / "ray" / "rayjob.yaml").read_text())
    program, *arguments = shlex.split(manifest["spec"]["entrypoint"])
    parsed = _parser().parse_args(arguments)
    assert (program, parsed.engine, parsed.address) == ("deepdetect", "ray", "auto")
    locked = (PROJECT_DIR / "requirements-screen.lock").read_text()
    assert f"ray=={manifest['spec']['rayClusterSpec']['rayVersion']}\n" in locked
