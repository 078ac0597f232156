"""One TorchServe with the three archives, shared by the session; it has ports and a temp directory of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client.inference import GrpcClient, HttpClient
from operations.server import PROJECT_DIR, TorchServe
from samples.clip import make_sample

MODELS = ("video", "audio", "ensemble")


@pytest.fixture(scope="session")
def model_store() -> Path:
    """The archives that `make archive` builds."""
    store = PROJECT_DIR / "archives"
    for model in MODELS:
        if not (store / f"{model}.mar").exists():
            pytest.fail(f"archives/{model}.mar is not there: run `make archive` first, or `make test`")
    return store


@pytest.fixture(scope="session")
def server(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    server = TorchServe.private(tmp_path_factory.mktemp("torchserve"), model_store, MODELS)
    with server.running():
        yield server


@pytest.fixture(scope="session")
def http(server: TorchServe) -> HttpClient:
    return server.http_client()


@pytest.fixture(scope="session")
def over_grpc(server: TorchServe) -> Iterator[GrpcClient]:
    client = server.grpc_client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its private key, as docs/serving/secure.md makes them."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: apt-get install openssl")
    page = (PROJECT_DIR / "docs" / "serving" / "secure.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^openssl req (?:.*\\\n)*.*\n", page, flags=re.MULTILINE)
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(["bash", "-ec", f"mkdir tls\n{command}"], cwd=directory, check=True, capture_output=True)
    return directory / "tls" / "certificate.pem", directory / "tls" / "key.pem"


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Makes a small clip: `clip("mp4", duration_s=1.0, face=False)`; the arguments are those of `make_sample`."""
    directory = tmp_path_factory.mktemp("clips")
    made: dict[str, bytes] = {}

    def make(suffix: str = "mp4", **arguments) -> bytes:
        arguments = {"duration_s": 2.0, "width": 480, "height": 360} | arguments
        key = f"{suffix} {sorted(arguments.items())}"
        if key not in made:
            made[key] = make_sample(directory / f"{len(made)}.{suffix}", **arguments).read_bytes()
        return made[key]

    return make


@pytest.fixture(scope="session")
def sound(clip) -> bytes:
    """Two seconds of speech as wav."""
    return clip("wav", video_codec=None, audio_codec="pcm_s16le")
