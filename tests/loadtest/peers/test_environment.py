"""The peers' own environment, and who may import what."""

from __future__ import annotations

import ast
import re

import yaml

from loadtest.peers.workload import MODALITIES, PROJECT_DIR, payload, serving_of

PACKAGE = PROJECT_DIR / "loadtest" / "peers"
SERVING = {"predictor.py", "in_process_loop.py", "litserve_app.py", "bentoml_app.py", "ray_app.py"}


def names(lock: str) -> dict[str, str]:
    """Package -> version; fails on a line that pins nothing."""
    lines = [line for line in (PROJECT_DIR / lock).read_text().splitlines() if line and not line.startswith("#")]
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line) for line in lines]
    assert all(pins), f"{lock} holds lines that are not NAME==VERSION"
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in pins}


def test_every_peer_is_pinned():
    peers = names("loadtest/peers/requirements.lock")
    assert {"litserve", "bentoml", "ray", "onnxruntime", "openvino", "nncf"} <= set(peers)
    assert peers["bentoml"] == "1.4.39"


def test_peers_are_no_dependency_of_ours_and_bring_no_second_torch():
    peers, ours = names("loadtest/peers/requirements.lock"), names("requirements.lock")
    assert not {"litserve", "bentoml", "ray", "onnxruntime", "openvino", "nncf"} & set(ours)
    assert not {"torch", "torchvision", "numpy", "torchserve"} & set(peers)


def imported(path) -> set[str]:
    """The first part of the name of every module that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_under_loadtest_only_programs_that_serve_know_more_than_the_wire():
    knowing = {
        path.name
        for path in PACKAGE.parent.rglob("*.py")
        if imported(path) & {"model_defs", "handlers", "training", "archives"}
    }
    assert knowing <= SERVING
    assert "predictor.py" in knowing


def test_all_serve_as_the_archive_is_configured():
    for model in MODALITIES:
        config = yaml.safe_load((PROJECT_DIR / "config" / f"{model}.yaml").read_text())
        serving = serving_of(model)
        assert (serving.batch_size, serving.delay_ms) == (config["batchSize"], config["maxBatchDelay"])
        assert serving.n_workers == config["minWorkers"] == config["maxWorkers"]
        assert serving.decode_threads == config["handler"]["decode_threads"]


def test_no_two_payloads_are_equal():
    for model in ("tiny", "audio"):
        assert len({payload(model, b"RIFF clip") for _ in range(10)}) == 10
