"""Who may ask for what; against a console that runs, with its TorchServe down."""

from __future__ import annotations

import pytest
import requests

pytest.importorskip("starlette", reason="the console's packages are not here: make console-test")

from console.security import host_name
from tests.console.environment import running_console


def test_every_answer_carries_the_policy(lone_console):
    for path in ("/", "/static/main.js", "/api/health", "/nowhere"):
        headers = requests.get(lone_console.address + path, timeout=10).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(lone_console):
    cookie = requests.get(lone_console.address + "/", allow_redirects=False, timeout=10).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


def test_another_name_for_this_machine_is_refused(lone_console):
    """As of a page elsewhere whose name was made to point here."""
    answer = requests.get(lone_console.address + "/", headers={"Host": "evil.example:80"}, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "wrong_host")


def test_a_call_without_a_session_is_refused(lone_console):
    for method, path in (
        ("GET", "/api/clips"),
        ("POST", "/api/clips?name=a"),
        ("GET", "/export/csv"),
        ("GET", "/api/clips/x/media"),
    ):
        answer = requests.request(
            method, lone_console.address + path, data=b"x" if method == "POST" else None, timeout=10
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no_session")


def test_a_change_needs_the_token_of_the_page(lone_console):
    caller = lone_console.visit()
    for token in (None, "", "wrong"):
        answer = caller.post(lone_console.address + "/api/session/end", headers={"x-csrf-token": token}, timeout=10)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf")
    assert caller.get(lone_console.address + "/api/clips", timeout=10).ok


def test_another_site_is_refused(lone_console):
    caller = lone_console.visit()
    answer = caller.get(lone_console.address + "/api/clips", headers={"Sec-Fetch-Site": "cross-site"}, timeout=10)
    assert answer.status_code == 403


def test_sessions_do_not_see_each_others_files(lone_console):
    first, second = lone_console.visit(), lone_console.visit()
    clip = first.post(lone_console.address + "/api/clips?name=a.mp4", data=b"abc", timeout=10).json()
    assert first.get(f"{lone_console.address}/api/clips/{clip['id']}/media", timeout=10).content == b"abc"
    for path in ("", "/media"):
        assert second.get(f"{lone_console.address}/api/clips/{clip['id']}{path}", timeout=10).status_code == 404


def test_an_ended_session_is_over(lone_console):
    caller = lone_console.visit()
    assert caller.post(lone_console.address + "/api/session/end", timeout=10).ok
    assert caller.get(lone_console.address + "/api/clips", timeout=10).status_code == 401


def test_limits_are_held_to_before_a_byte_is_kept(lone_console):
    caller = lone_console.visit()
    url = lone_console.address + "/api/clips?name=a.mp4"
    assert caller.post(url, data=b"x" * 1_001, timeout=10).json()["error"]["code"] == "too_large"
    assert caller.post(url, data=b"", timeout=10).json()["error"]["code"] == "empty_body"
    assert caller.post(url, data=iter([b"x"]), timeout=10).json()["error"]["code"] == "length_required"
    for _ in range(3):
        assert caller.post(url, data=b"x", timeout=10).status_code == 201
    assert caller.post(url, data=b"x", timeout=10).json()["error"]["code"] == "too_many_files"
    (session,) = [one for one in lone_console.app.state.services.sessions if len(one.clips) == 3]
    assert len(list(session.directory.iterdir())) == 3


def test_an_upload_is_never_a_page(lone_console):
    caller = lone_console.visit()
    clip = caller.post(lone_console.address + "/api/clips?name=x.html", data=b"<script>", timeout=10).json()
    answer = caller.get(f"{lone_console.address}/api/clips/{clip['id']}/media", timeout=10)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_names_are_shown_without_their_paths_and_tricks(lone_console):
    caller = lone_console.visit()
    url = lone_console.address + "/api/clips"
    for name, shown in (
        ("../../etc/passwd", "passwd"),
        ("a\u202egpj.mp4", "a_gpj.mp4"),
        ("a\nb", "a_b"),
        ("", "unnamed"),
    ):
        clip = caller.post(url, params={"name": name}, data=b"x", timeout=10).json()
        assert clip["name"] == shown
        caller.delete(f"{url}/{clip['id']}", timeout=10)


def test_a_server_that_is_down_is_said_and_may_be_tried_again(lone_console):
    caller = lone_console.visit()
    assert caller.get(lone_console.address + "/api/health", timeout=60).json()["is_up"] is False
    assert caller.get(lone_console.address + "/api/models", timeout=60).json()["error"]["code"] == "ServerUnavailable"


def test_with_a_token_only_its_holder_gets_in():
    with running_console(token="right", management="", metrics="") as console:
        shut = requests.get(console.address + "/", timeout=10)
        assert (shut.status_code, "data-csrf" in shut.text) == (401, False)
        assert requests.get(console.address + "/?token=wrong", timeout=10).status_code == 401
        opened = requests.Session().get(console.address + "/?token=right", timeout=10)
        assert (opened.status_code, opened.url) == (200, console.address + "/")
        assert "data-csrf" in opened.text


@pytest.mark.parametrize(("host", "name"), [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("", "")])
def test_host_names(host, name):
    assert host_name(host) == name
