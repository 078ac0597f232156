from __future__ import annotations

import math
from pathlib import Path

import pytest

from client.keys import find_keys
from model_defs.limits import Limits
from operations.registry import Registry, Release
from operations.server import PROJECT_DIR, ServerError, TorchServe, read_properties
from tests.http_server import Handler, Server, serving

ADDRESSES = ("inference_address", "management_address", "metrics_address")
PORTS = ("grpc_inference_port", "grpc_management_port")


def test_private_servers_share_nothing(tmp_path):
    one, two = (TorchServe.private(tmp_path / name, tmp_path / "store", ["video"]) for name in ("one", "two"))
    for key in (*ADDRESSES, *PORTS):
        assert one.properties[key] != two.properties[key]
    for key in ("TS_CONFIG_FILE", "LOG_LOCATION", "TEMP", "TMPDIR"):
        assert one.environment[key] != two.environment[key]
    assert one.models == ["video"]
    for server in (one, two):
        assert not server.stop()
        assert not Path(server.environment["TEMP"]).exists()


def test_settings_of_a_private_server_win(tmp_path):
    server = TorchServe.private(tmp_path, tmp_path, settings={"job_queue_size": 3})
    assert server.properties["job_queue_size"] == "3"
    server.stop()


def test_a_server_that_does_not_start_says_why(tmp_path):
    server = TorchServe.private(tmp_path / "run", tmp_path / "no-such-store")
    with pytest.raises(ServerError, match="model-store directory not found"), server.running():
        pytest.fail("it runs without a model store")
    assert server.process is None
    assert not server.ready("video")
    assert server.describe("video") is None
    assert not Path(server.environment["TEMP"]).exists()


def test_ports_that_another_server_holds_are_not_taken_for_ones_own(tmp_path):
    class Other(Handler):
        def do_GET(self):
            self.reply(200, {"models": []})

    with serving(Server(Other)) as other:
        server = TorchServe.private(tmp_path, tmp_path, settings={"management_address": other.address})
        with pytest.raises(ServerError, match="another server"):
            server.start()
        server.stop()


def test_the_project_listens_on_loopback_only():
    properties = read_properties(PROJECT_DIR / "config" / "config.properties")
    assert all(properties[key].startswith("http://127.0.0.1:") for key in ADDRESSES)
    assert properties["grpc_inference_address"] == properties["grpc_management_address"] == "127.0.0.1"


def test_the_largest_file_allowed_fits_into_a_request_as_base64():
    properties = read_properties(PROJECT_DIR / "config" / "config.properties")
    assert int(properties["max_request_size"]) > math.ceil(Limits().max_bytes / 3) * 4 + 1024


def test_properties_are_read_without_comments(tmp_path):
    path = tmp_path / "config.properties"
    path.write_text("# note\n\na = 1\nurl=http://x/?a=b\n")
    assert read_properties(path) == {"a": "1", "url": "http://x/?a=b"}


def test_a_server_that_follows_releases_starts_what_was_promoted(tmp_path):
    server = TorchServe.private(tmp_path / "run", tmp_path, ["video", "audio"])
    Registry(tmp_path).set_history("audio", [Release(f"{n}.0", f"audio-{n}.0.mar", "abc") for n in (1, 2)])
    assert server.archives == {"video": "video.mar", "audio": "audio.mar"}
    server.follows_releases = True
    assert server.archives == {"video": "video.mar", "audio": "audio-2.0.mar"}
    assert TorchServe.of_project().follows_releases
    server.stop()


def test_the_project_keeps_everything_in_the_state_directory_if_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPDETECT_STATE", str(tmp_path))
    server = TorchServe.of_project()
    assert server.directory == tmp_path
    assert server.keys.path == find_keys().path == tmp_path / "key_file.json"
    assert server.log_dir.parent == Path(server.environment["TEMP"]).parent == tmp_path
    assert server.model_store.resolve() == PROJECT_DIR / "archives"
    assert TorchServe.at(None).directory == tmp_path
