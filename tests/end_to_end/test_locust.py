"""The load test users, run by the real Locust against the real server."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

from operations.server import PROJECT_DIR


def test_both_kinds_of_user_get_their_own_answers(server, sample_clip, tmp_path):
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--only-summary"]
    command += ["--users", "2", "--spawn-rate", "2", "--run-time", "6s", "--csv", str(tmp_path / "load")]
    command += ["--host", server.inference, "--grpc-host", server.grpc_inference]
    command += ["--clip", str(sample_clip), "--model", "audio"]
    environment = os.environ | {
        "DEEPDETECT_KEY_FILE": str(server.keys.path),
        "DEEPDETECT_MANAGEMENT_ADDRESS": server.management,
    }
    run = subprocess.run(command, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2_000:]
    with (tmp_path / "load_stats.csv").open(newline="") as table:
        rows = {row["Type"]: row for row in csv.DictReader(table) if row["Type"]}
    assert set(rows) == {"POST", "gRPC"}
    assert all(int(row["Request Count"]) > 0 for row in rows.values())
    assert {row["Failure Count"] for row in rows.values()} == {"0"}
