"""Waiting until a version has nothing in flight, so that it can be removed without a failed request.

TorchServe removes a version at once: what lies in its queue or with its workers fails, and it does not tell what its
workers are at. So they are asked: a describe request stands in the same queue as all others, and a worker answers it
when it is done with what came before. When every worker has answered, the queue is empty, and meanwhile nobody has
asked for the version by name (`ts_inference_requests_total` counts that), the version is idle. Requests without a
version go elsewhere from the moment that another is the default.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from client.errors import ClientError, ServerUnavailable
from client.management import Management

COUNTER = "ts_inference_requests_total"
PAUSE_S = 0.5  # at the least between two counts of the requests


class NotDrained(ClientError):
    """The version still has work; nothing was removed."""


def drain(management: Management, metrics_address: str, model: str, version: str, timeout_s: float = 60.0) -> None:
    """Returns when the version is idle.

    Raises:
        NotDrained: it was not within `timeout_s`; the message says who keeps it busy.
        UnknownModel, UnknownVersion: there is none.
        ServerUnavailable: the metrics cannot be read.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        n_before = _n_pinned(management, metrics_address, model, version)
        started = time.monotonic()
        hear_every_worker(management, model, version, deadline)
        time.sleep(max(0.0, started + PAUSE_S - time.monotonic()))
        n_new = _n_pinned(management, metrics_address, model, version) - n_before
        served = management.find(model, version)
        n_pending = served.n_pending if served else 0
        if not n_new and not n_pending:
            return
        if time.monotonic() > deadline:
            callers = f"callers still ask for version {version} by name ({n_new:.0f} requests in the last round)"
            raise NotDrained(f"{model} {version} is not idle after {timeout_s:.0f} s: {n_pending} queued; {callers}")


def hear_every_model(management: Management, deadline: float) -> None:
    """Returns when every worker of every version has answered a describe request that was sent after this call."""
    for model in management.models():
        for served in management.versions(model):
            hear_every_worker(management, model, served.version, deadline)


def hear_every_worker(management: Management, model: str, version: str, deadline: float) -> None:
    """Returns when each worker has answered a describe request that was sent after this call."""
    heard: set[int] = set()
    while True:
        served = management.find(model, version)
        busy = {worker.pid for worker in served.workers if worker.status == "READY"} - heard if served else set()
        if not busy:
            return
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise NotDrained(f"{model} {version} is not idle: {len(busy)} of its workers did not answer in time")
        with ThreadPoolExecutor(len(busy)) as askers:
            asked = [askers.submit(management.describe, model, version, timeout_s=left_s) for _ in busy]
            heard |= {_pid(each.result().manifest) for each in asked}


def _pid(manifest: dict[str, Any]) -> int:
    try:
        return manifest["worker"]["pid"]
    except (KeyError, TypeError):
        raise NotDrained("its handler does not tell which worker answers, so nobody knows when it is idle") from None


def _n_pinned(management: Management, metrics_address: str, model: str, version: str) -> float:
    """How many requests have asked for this version by name since the server started."""
    try:
        response = requests.get(
            f"{metrics_address}/metrics", params={"name[]": COUNTER}, timeout=10, verify=management.verify
        )
        response.raise_for_status()
    except requests.RequestException as error:
        raise ServerUnavailable(f"{metrics_address} does not answer: {error}") from error
    for labels, value in re.findall(rf"^{COUNTER}{{(.*)}} (\S+)$", response.text, flags=re.MULTILINE):
        if f'model_name="{model}"' in labels and f'model_version="{version}"' in labels:
            return float(value)
    return 0.0
