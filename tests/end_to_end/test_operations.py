"""The commands of docs/serving, run in the order of the pages in one shell, in a copy of the project."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.server import PROJECT_DIR, read_properties

PAGES = ("index", "configure", "tune", "secure", "observe", "upgrade", "explain", "troubleshoot")  # of docs/serving
BUILT = ("build/artifacts", "build/sample.mp4", *(f"archives/{model}.mar" for model in ("video", "audio", "ensemble")))


@pytest.fixture(scope="module")
def project(model_store, sample_clip, tmp_path_factory) -> Iterator[Path]:
    """The tracked files and what is built from them, with the times that `make` goes by; its server is stopped."""
    _require_free_ports()
    copy = tmp_path_factory.mktemp("operations") / "deepdetect"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT_DIR, check=True, capture_output=True, text=True)
    for name in [name for name in listed.stdout.split("\0") if name and (PROJECT_DIR / name).exists()]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT_DIR / name, copy / name)
    for name in BUILT:
        place = shutil.copytree if (PROJECT_DIR / name).is_dir() else shutil.copy2
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        place(PROJECT_DIR / name, copy / name)
    (copy / ".venv").symlink_to((PROJECT_DIR / ".venv").resolve())
    # Or the first `make` would install anew, into the environment that this very test runs in.
    if subprocess.run(["make", "--question", ".venv/.installed"], cwd=copy, capture_output=True).returncode:
        pytest.fail("the environment is older than requirements.lock: run `make setup` first, or `make test`")
    try:
        yield copy
    finally:
        subprocess.run(["make", "stop"], cwd=copy, capture_output=True)


@pytest.mark.timeout(900)
def test_the_commands_of_the_pages_work(project):
    pages = [PROJECT_DIR / "docs" / "serving" / f"{name}.md" for name in PAGES]
    blocks = [block for page in pages for block in commands(page.read_text(encoding="utf-8"))]
    assert blocks, "the pages have no commands"
    script = "set -euo pipefail\n" + "\n".join(f"echo '>>> {heading}'\n{block}" for heading, block in blocks)
    log = project / "operations.log"
    with log.open("w") as output:
        done = subprocess.run(["bash", "-c", script], cwd=project, stdout=output, stderr=subprocess.STDOUT, timeout=840)
    assert done.returncode == 0, log.read_text(errors="replace")[-4_000:]


def commands(page: str) -> list[tuple[str, str]]:
    """(heading, block) of every block fenced as bash."""
    found, heading = [], ""
    for part in re.split(r"^(#+ .*)$", page, flags=re.MULTILINE):
        if part.startswith("#"):
            heading = part.lstrip("# ").replace("'", "")
        found += [
            (heading, block) for block in re.findall(r"^```bash\n(.*?)^```", part, flags=re.MULTILINE | re.DOTALL)
        ]
    return found


def _require_free_ports() -> None:
    properties = read_properties(PROJECT_DIR / "config" / "config.properties")
    ends = [
        re.search(r"(?:^|:)(\d+)$", value) for key, value in properties.items() if key.endswith(("_address", "_port"))
    ]
    ports = [int(end[1]) for end in ends if end]
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port} is taken: stop the server that listens there to have these commands run")
