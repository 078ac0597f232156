"""S3 as moto speaks it, in an environment of its own: its packages clash with the lock."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow.fs import FileSystem

from operations.settings import free_ports

PROJECT_DIR = Path(__file__).resolve().parents[3]
SERVER = PROJECT_DIR / ".venv-moto" / "bin" / "moto_server"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@pytest.fixture
def s3(monkeypatch) -> Iterator[FileSystem]:
    if not SERVER.exists():
        pytest.skip("moto is not installed: make .venv-moto/.installed")
    (port,) = free_ports(1)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
        monkeypatch.setenv(name, value)
    with subprocess.Popen(
        [str(SERVER), "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            yield _bucket()
        finally:
            server.terminate()


def test_a_bucket_is_screened_into_a_bucket_and_not_twice(s3, catalogue):
    folder = catalogue(12)
    for path in sorted(folder.rglob("*.*")):
        with s3.open_output_stream(f"archive/in/{path.name}") as file:
            file.write(path.read_bytes())
    command = [
        sys.executable,
        "-m",
        "deepdetect.cli",
        "screen",
        "s3://archive/in/**/*.*",
        "--output",
        "s3://archive/out",
    ]
    command += ["--shard-files", "4", "--workers", "1"]
    first = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, env=os.environ)
    assert first.returncode == 1, first.stderr
    assert "12 files listed, 0 judged before, 12 to judge" in first.stderr
    second = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, env=os.environ)
    assert "12 judged before, 0 to judge" in second.stderr


def _bucket() -> FileSystem:
    until_s = time.monotonic() + 60
    while True:
        try:
            filesystem, _ = FileSystem.from_uri("s3://archive?allow_bucket_creation=true")
            filesystem.create_dir("archive")
            return filesystem
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.2)
