"""Tells an orchestrator the truth about a TorchServe: whether it lives, and whether it can judge.

TorchServe's own `/ping` says Healthy without a single worker, and Unhealthy only when it has tried in vain for minutes
to start one: reason enough to start the server anew, but too late for a load balancer. So there are two answers:

    GET /live     200 while TorchServe answers its /ping with 200; else start it anew
    GET /ready    200 while every model has all the workers that it wants, each READY, and has judged a file since they
                  started, and the server does not drain; else send requests elsewhere

Both say why in the body, as JSON. What they tell was found out before they were asked, at most STALE_S ago.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from client.errors import ClientError, KeyRefused, ServerUnavailable, TimedOut
from client.keys import with_key
from client.management import Management, ServedVersion
from client.padding import unique
from client.reply import raise_if_key_refused
from client.retry import ONCE
from operations.server import TorchServe

EVERY_S = 2.0
TIMEOUT_S = 5.0
STALE_S = 12.0  # a look, its timeout and the pause are over by then


@dataclass(frozen=True)
class Health:
    """What was found last.

    Attributes:
        trouble: why not; empty if all is well.
        found_at_s: on the clock of time.monotonic().
    """

    trouble: str
    found_at_s: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> str:
        """The trouble as of now: nothing known for a while is trouble, too."""
        age_s = time.monotonic() - self.found_at_s
        return self.trouble or (f"nothing is known for {age_s:.0f} s" if age_s > STALE_S else "")


class ServerWatch:
    """Looks after one server, and gives its models the workers that they should have.

    Args:
        server: the server; it need not run yet.
        clip: a file that every model can judge.
        workers: model -> workers that it should have; what its archive says for those left out.
    """

    def __init__(self, server: TorchServe, clip: bytes, workers: Mapping[str, int] | None = None) -> None:
        self.server = server
        self.clip = clip
        self.workers = dict(workers or {})
        if unknown := set(self.workers) - set(server.models):
            raise ValueError(f"workers for {', '.join(unknown)}; models: {', '.join(server.models)}")
        self.live = self.ready = Health("nobody has looked yet")
        self._management = Management(server.management, keys=server.keys, verify=server.verify, timeout_s=TIMEOUT_S)
        self._proven: dict[str, frozenset[int]] = {}  # model -> the workers it had when it judged a file

    def start(self) -> None:
        """Looks again and again, in the background; a look at one thing does not wait for the other."""
        for look in (self.look_whether_live, self.look_whether_ready):
            threading.Thread(target=_again_and_again, args=(look,), daemon=True).start()

    def look_whether_live(self) -> None:
        self.live = Health(self._why_not(self._ping))

    def look_whether_ready(self) -> None:
        self.ready = Health(self._why_not(self._judge))

    def _why_not(self, look: Callable[[], str]) -> str:
        try:
            return look()
        except (ServerUnavailable, TimedOut, requests.ConnectionError, requests.Timeout):
            return "TorchServe does not answer"
        except KeyRefused:
            return "TorchServe refuses the key"
        except (ClientError, requests.RequestException, OSError) as error:
            return f"{type(error).__name__}: {error}"

    def _ping(self) -> str:
        def call(key: Mapping[str, str]) -> requests.Response:
            url = f"{self.server.inference}/ping"
            response = requests.get(url, headers=key, timeout=TIMEOUT_S, verify=self.server.verify)
            raise_if_key_refused(response)
            return response

        status = with_key(self.server.keys, "inference", call).status_code
        return "" if status == 200 else f"/ping is {status}"

    def _judge(self) -> str:
        if self.server.is_draining:
            return "the server drains"
        for model in self.server.models:
            served = self._management.default(model)
            if trouble := self._lacks_workers(served) or self._is_unproven(served):
                return trouble
        return ""

    def _lacks_workers(self, served: ServedVersion) -> str:
        wanted = self.workers.get(served.model, max(1, served.min_workers))
        if served.min_workers != wanted:
            self._management.scale(served.model, served.version, wanted)
            served = self._management.default(served.model)
        if served.n_ready < wanted:
            return f"{served.model}: {served.n_ready} of {wanted} workers are READY"
        return ""

    def _is_unproven(self, served: ServedVersion) -> str:
        """Has the model judge a file, where none of the workers is there any more that it had when it last did."""
        pids = frozenset(worker.pid for worker in served.workers if worker.status == "READY")
        if pids & self._proven.get(served.model, frozenset()):
            return ""
        reply = self.server.http_client(retry=ONCE).predict(served.model, unique(self.clip))  # no cache knows it
        if reply.error_code:
            return f"{served.model}: {reply.body['error']['message']}"
        self._proven[served.model] = pids
        return ""


def serve_probes(watch: ServerWatch, address: str) -> ThreadingHTTPServer:
    """Answers /live and /ready at the address, such as `0.0.0.0:8083`, in the background.

    Raises:
        OSError: the address cannot be had.
        ValueError: it is none.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ValueError(f"the probes' address is {address!r}; a host, a colon and a port are allowed")

    class Probes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"/live": watch.live, "/ready": watch.ready}.get(self.path)
            trouble = found.now if found else "there are /live and /ready"
            status = 404 if not found else 503 if trouble else 200
            body = json.dumps({"status": "well" if not trouble else "not well", "why": trouble}).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:  # a line a second would say nothing
            pass

    listening = ThreadingHTTPServer((host, int(port)), Probes)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    return listening


def _again_and_again(look: Callable[[], None]) -> None:
    while True:
        look()
        time.sleep(EVERY_S)
