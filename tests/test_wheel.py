"""The wheel: what a person gets who installs it into an environment that knows nothing of this checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from deepdetect import DeepfakeDetector

PROJECT_DIR = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([*command, "--wheel-dir", str(directory)], cwd=PROJECT_DIR, check=True)
    (built,) = directory.glob("deepdetect-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A virtual environment with the wheel, and of ours the libraries alone: a path entry runs no editable install."""
    directory = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    python = directory / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory


def test_the_command_judges_with_the_weights_inside(environment, sample_clip, tmp_path):
    command = [str(environment / "bin" / "deepdetect")]
    version = subprocess.run([*command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"deepdetect \d+\.\d+\.\d+\n", version.stdout)

    detect = [*command, "detect", str(sample_clip), "--json"]
    answer = json.loads(subprocess.run(detect, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    weights = PROJECT_DIR / "weights"
    models = [weights / modality / "model.safetensors" for modality in ("video", "audio")]
    expected = DeepfakeDetector(*models, device="cpu").detect(sample_clip)
    assert answer["prediction"] == expected["prediction"]
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)

    where = [str(environment / "bin" / "python"), "-c", "import deepdetect; print(deepdetect.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(environment))


def test_weights_configuration_and_every_package_are_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("weights", "config"):
        committed = subprocess.run(
            ["git", "ls-files", folder], cwd=PROJECT_DIR, capture_output=True, text=True, check=True
        ).stdout.split()
        assert {f"deepdetect/{path}" for path in committed} <= names
    modules = subprocess.run(
        ["git", "ls-files", "deepdetect/*.py", "model_defs/*.py", "handlers/*.py", "training/*.py"],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(modules) <= names


def test_using_it_needs_no_tool_that_developing_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    needed = [entry for entry in metadata.get_all("Requires-Dist") if "extra ==" not in entry]
    assert any(entry.startswith("torch>=") for entry in needed)
    assert not [entry for entry in needed if re.match(r"(pytest|ruff|mypy|hypothesis|locust|torchserve)\b", entry)]
    assert {"serve", "train", "loadtest", "dev"} <= set(metadata.get_all("Provides-Extra"))
