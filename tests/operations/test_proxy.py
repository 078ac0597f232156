"""What is written for nginx; that nginx obeys it is shown in tests/end_to_end/test_proxy.py."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess

import pytest

from client.keys import FixedKeys
from operations import proxy
from operations.proxy import ProxySettings
from operations.server import PROJECT_DIR, read_properties


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed: apt-get install nginx")
def test_nginx_accepts_the_configuration_as_it_comes(tmp_path):
    config = proxy.write(tmp_path, ProxySettings(), FixedKeys("key"))
    proxy.add_client(tmp_path, "newsroom")
    done = subprocess.run(["nginx", "-t", "-c", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\$\{[A-Z]", config.read_text())


def test_the_largest_body_is_that_of_torchserve():
    properties = read_properties(PROJECT_DIR / "config" / "config.properties")
    assert ProxySettings().max_body_bytes == int(properties["max_request_size"])


def test_clients_keep_their_keys_when_limits_change(tmp_path):
    proxy.write(tmp_path, ProxySettings(), FixedKeys("key"))
    keys = [proxy.add_client(tmp_path, name) for name in ("newsroom", "newsroom", "archive-2")]
    assert len(set(keys)) == 3
    proxy.write(tmp_path, ProxySettings(rate_per_minute=7), FixedKeys("key"))
    clients = (tmp_path / proxy.CLIENTS).read_text()
    assert re.findall(r'^"Bearer (\S+)" (\S+);$', clients, flags=re.MULTILINE) == [
        (keys[0], "newsroom"),
        (keys[1], "newsroom"),
        (keys[2], "archive-2"),
    ]
    assert "rate=7r/m" in (tmp_path / "nginx.conf").read_text()


def test_files_with_keys_are_private(tmp_path):
    proxy.write(tmp_path, ProxySettings(), FixedKeys("key"))
    for name in (proxy.CLIENTS, proxy.UPSTREAM_KEY):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_key_is_written_when_it_is_another_one(tmp_path):
    assert proxy.update_key(tmp_path, FixedKeys("one"))
    assert not proxy.update_key(tmp_path, FixedKeys("one"))
    assert proxy.update_key(tmp_path, FixedKeys("two"))
    assert '"Bearer two"' in (tmp_path / proxy.UPSTREAM_KEY).read_text()
    assert not proxy.reload(tmp_path), "no nginx runs here"


@pytest.mark.parametrize("name", ["", "two words", 'quote"', "a;b", "x" * 65])
def test_odd_client_names_do_not_get_into_the_configuration(tmp_path, name):
    with pytest.raises(ValueError, match="are allowed"):
        proxy.add_client(tmp_path, name)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rate_per_minute", 0),
        ("burst", -1),
        ("http_listen", "80; root /"),
        ("certificate", "only.pem"),
        ("user", "a b"),
    ],
)
def test_impossible_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=setting):
        ProxySettings(**{setting: value})


@pytest.mark.parametrize(("rate_per_minute", "wait_s"), [(1, 60), (7, 9), (60, 1), (6000, 1)])
def test_who_is_sent_away_is_told_when_there_is_room_again(rate_per_minute, wait_s):
    assert ProxySettings(rate_per_minute=rate_per_minute).retry_after_s == wait_s


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEEPDETECT_KEY_FILE", str(tmp_path / "key_file.json"))
    assert proxy.main(["write", str(tmp_path), "--burst", "-1"]) == 1
    assert "burst is -1" in capsys.readouterr().err


def test_clients_logs_and_probes_may_be_elsewhere(tmp_path):
    settings = ProxySettings(
        clients="/etc/deepdetect/clients.map", probes="127.0.0.1:8083", access_log="/dev/stdout", processes="2"
    )
    text = proxy.write(tmp_path, settings, FixedKeys("key")).read_text()
    assert "include /etc/deepdetect/clients.map;" in text
    assert "location ~ ^/(live|ready)$ { proxy_pass http://127.0.0.1:8083; proxy_set_header" in text
    assert {"worker_processes 2;", "access_log /dev/stdout requests;", "error_log stderr warn;"} <= {
        line.strip() for line in text.splitlines()
    }
    assert not (tmp_path / proxy.CLIENTS).exists()


@pytest.mark.parametrize("text", ["ensemble", "ensemble=", "ensemble=0", "=2", "ensemble=many"])
def test_numbers_of_workers_that_are_none_are_refused(tmp_path, text, capsys):
    with pytest.raises(SystemExit):
        proxy.main(["follow", str(tmp_path), "--workers", text])
    assert "a number from 1" in capsys.readouterr().err
