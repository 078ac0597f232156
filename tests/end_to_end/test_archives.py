"""An archive needs TorchServe and the pinned packages, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from client.errors import RequestFailed
from operations.server import TorchServe


@pytest.fixture(scope="module")
def stock_python(tmp_path_factory) -> str:
    """An interpreter that has the installed packages, but not this project."""
    directory = tmp_path_factory.mktemp("stock")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (site,) = directory.glob("lib/python3*/site-packages")
    # Packages below a folder named by a .pth file are found; that folder's own .pth files are not read,
    # and with them goes the editable install of this project.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(directory / "bin" / "python")


@pytest.fixture(scope="module")
def stock_server(stock_python, tmp_path_factory):
    directory = tmp_path_factory.mktemp("stock-server")
    store = directory / "store"
    store.mkdir()
    with TorchServe.private(directory, store, python=stock_python).running() as server:
        yield server


def test_registering_an_archive_on_a_stock_server_is_enough(stock_python, stock_server, model_store, sound, detector):
    found = subprocess.run([stock_python, "-c", "import model_defs"], cwd="/", capture_output=True, text=True)
    assert "ModuleNotFoundError" in found.stderr, "the stock interpreter sees this project"
    shutil.copy(model_store / "audio.mar", stock_server.properties["model_store"])
    stock_server.management_api.register("audio.mar")
    stock_server.wait_until_ready(["audio"])
    answer = stock_server.http_client().predict("audio", sound).body
    path = Path(stock_server.directory, "sound.wav")
    path.write_bytes(sound)
    assert answer["probabilities"] == detector.detect_audio(path)["probabilities"]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/evil.mar", "HTTPS://127.0.0.1:9/evil.mar", "file://{}", "FILE://{}"]
)
def test_archives_are_not_fetched_from_elsewhere(stock_server, model_store, address):
    with pytest.raises(RequestFailed, match="404: .*does not match any allowed URL"):
        stock_server.management_api.register(address.format(model_store / "video.mar"))


@pytest.mark.parametrize("path", ["../archives/video.mar", "{}/video.mar", "none", "ftp://127.0.0.1:9/video.mar"])
def test_archives_outside_of_the_model_store_are_not_found(stock_server, model_store, path):
    with pytest.raises(RequestFailed, match="404"):
        stock_server.management_api.register(path.format(model_store))


@pytest.mark.parametrize("model", ["video", "audio", "ensemble"])
def test_a_served_model_tells_what_it_was_made_of(server, model_store, model):
    with zipfile.ZipFile(model_store / f"{model}.mar") as archive:
        stored = json.loads(archive.read("deepdetect.json"))
    told = server.describe(model)["customizedMetadata"]
    for key in ("name", "version", "digest", "source_digest"):
        assert told[key] == stored[key]
    assert told["artifacts"].keys() == stored["artifacts"].keys()
    for artifact in stored["artifacts"].values():
        assert {"spec", "figures", "calibration", "weights_sha256", "torch", "variants"} <= set(artifact)
