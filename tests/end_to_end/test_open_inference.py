"""The clients that people use for the Open Inference Protocol, before the real server, directly and by the proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from operations.server import PROJECT_DIR
from tests.end_to_end.test_proxy import Nginx

PYTHON = PROJECT_DIR / ".venv-clients" / "bin" / "python"
SCRIPTS = PROJECT_DIR / "tests" / "open_inference_clients"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="needs .venv-clients, which `make clients` makes")


@pytest.fixture(scope="module")
def speech(sound, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    path.write_bytes(sound)
    return path


def run(script: str, address: str, key: str, *arguments: str | Path) -> dict:
    command = [PYTHON, SCRIPTS / script, address, key, "audio", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("script", ["kserve_client.py", "tritonclient_http.py", "mlserver_client.py"])
def test_the_clients_get_the_verdict_of_a_plain_request(server, http, speech, script):
    told = run(script, server.inference, server.keys.headers("inference")["Authorization"], speech)
    assert set(told["scores"].values()) == {http.predict("audio", speech.read_bytes()).body["probabilities"]["fake"]}
    assert told.get("error", "415 unknown_container").startswith("415 unknown_container")
    assert told.get("health", [True, True]) == [True, True]


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed: apt-get install nginx")
def test_the_proxy_adds_readiness_of_models_and_grpc_by_its_usual_name(server, http, speech, tmp_path):
    nginx = Nginx(tmp_path, server, rate_per_minute=600, burst=20)
    try:
        key = nginx.keys["kserve"].headers("inference")["Authorization"]
        told = run("kserve_client.py", nginx.address, key, speech, nginx.settings.grpc_listen)
    finally:
        nginx.stop()
    assert told["health"] == [True, True, True]
    wanted = http.predict("audio", speech.read_bytes()).body["probabilities"]["fake"]
    assert told["scores"].pop("gRPC") == wanted
    assert set(told["scores"].values()) == {wanted}
