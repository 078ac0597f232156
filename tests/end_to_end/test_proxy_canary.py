"""The nginx lines of docs/serving/upgrade.md that send a share of the requests to a new version, in a real nginx."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from operations.settings import PROJECT_DIR, free_ports
from tests.http_server import Handler, Server, serving

FORM = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {split}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            {rewrite}
            proxy_pass http://127.0.0.1:{upstream};
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    """Answers every POST with the path that it was sent to."""

    class Echo(Handler):
        def do_POST(self):
            self.body()
            self.reply(200, self.path.encode())

    with serving(Server(Echo)) as server:
        yield server.server_port


@pytest.fixture
def proxy(upstream, tmp_path) -> Iterator[str]:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        pytest.skip("nginx is not installed: apt-get install nginx")
    page = (PROJECT_DIR / "docs" / "serving" / "upgrade.md").read_text(encoding="utf-8")
    split, rewrite = re.findall(r"^```nginx\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (port,) = free_ports(1)
    config = Path(tmp_path, "nginx.conf")
    config.write_text(FORM.format(directory=tmp_path, split=split, rewrite=rewrite, port=port, upstream=upstream))
    process = subprocess.Popen([nginx, "-c", config, "-p", tmp_path], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            assert process.poll() is None, (tmp_path / "error.log").read_text()
            try:
                requests.post(address, data=b"x", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_a_share_of_the_clients_meets_the_new_version_and_always_the_same_one(proxy):
    session = requests.Session()
    paths = []
    for _ in range(2):
        keys = [{"Authorization": f"Bearer {number}"} for number in range(400)]
        paths.append([_path(session, f"{proxy}/predictions/ensemble", key) for key in keys])
    assert paths[0] == paths[1]
    counts = Counter(paths[0])
    assert set(counts) == {"/predictions/ensemble", "/predictions/ensemble/2.0"}
    assert 5 <= counts["/predictions/ensemble/2.0"] <= 45  # 5 % of 400


@pytest.mark.parametrize("path", ["/predictions/audio", "/predictions/ensemble/1.0"])
def test_other_models_and_named_versions_are_left_alone(proxy, path):
    session = requests.Session()
    assert {_path(session, proxy + path, {"Authorization": f"Bearer {number}"}) for number in range(100)} == {path}


def _path(session: requests.Session, address: str, headers: dict[str, str]) -> str:
    response = session.post(address, data=b"x", headers=headers, timeout=5)
    assert response.status_code == 200
    return response.text
