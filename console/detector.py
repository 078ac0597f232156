"""The running TorchServe, as the console sees it: predictions, models, metrics. The keys stay on this side."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from client.errors import ClientError
from client.inference import HttpClient
from client.keys import Keys, KeySource, find_keys, trusted
from client.management import Management, ServedVersion
from console.clip import Record
from console.settings import ConsoleSettings

DESCRIBE_TIMEOUT_S = 60.0
METRICS_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """What came of one call: an answer, or an error `{"code", "message"}`."""

    answer: Record | None
    error: Record | None
    took_s: float

    @property
    def record(self) -> Record:
        """One of both, for JSON."""
        return {"answer": self.answer, "error": self.error, "took_s": round(self.took_s, 3)}


class Detector:
    """Calls one server. Safe to share by threads.

    Args:
        keys: None takes the key file of the settings, or finds the keys as client/keys.py says.
    """

    def __init__(self, settings: ConsoleSettings, keys: KeySource | None = None) -> None:
        if keys is None:
            keys = Keys(settings.key_file, settings.management, verify=trusted()) if settings.key_file else find_keys()
        self.settings = settings
        self.client = HttpClient(settings.inference, keys=keys)
        self.management = Management(settings.management, keys=keys) if settings.management else None
        self._manifests: dict[tuple[str, str, tuple[int, ...]], Record] = {}
        self._max_file_bytes: int | None = None
        self._lock = threading.Lock()

    def predict(
        self,
        data: bytes,
        file_name: str,
        *,
        options: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> Outcome:
        """Has one file judged; nothing is raised, for a refusal is an outcome as well."""
        started = time.perf_counter()
        try:
            reply = self.client.predict(
                self.settings.model, data, file_name=file_name, options=options, version=version
            )
        except ClientError as error:
            return Outcome(None, call_error(error), time.perf_counter() - started)
        took_s = time.perf_counter() - started
        if reply.error_code:
            return Outcome(None, {"code": reply.error_code, "message": reply.body["error"]["message"]}, took_s)
        return Outcome(reply.body, None, took_s)

    def versions(self) -> list[ServedVersion]:
        """All versions of all models; without a management API none.

        Raises:
            ClientError: the management API does not answer.
        """
        if self.management is None:
            return []
        return [served for model in self.management.models() for served in self.management.versions(model)]

    def manifest(self, served: ServedVersion) -> Record:
        """What the version says of itself; asked for once, until its workers are others.

        Raises:
            ClientError: it does not answer.
        """
        if self.management is None:
            return {}
        key = (served.model, served.version, tuple(sorted(worker.pid for worker in served.workers)))
        with self._lock:
            if key in self._manifests:
                return self._manifests[key]
        described = self.management.describe(served.model, served.version, timeout_s=DESCRIBE_TIMEOUT_S)
        manifest = described.manifest or {}
        with self._lock:
            self._manifests = {known: one for known, one in self._manifests.items() if known[:2] != key[:2]}
            self._manifests[key] = manifest
        return manifest

    def manifest_of(self, version: str | None = None) -> Record:
        """The manifest of the console's model, of its default version unless one is named; {} where none is told."""
        try:
            if self.management is None:
                return {}
            model = self.settings.model
            return self.manifest(self.management.get(model, version) if version else self.management.default(model))
        except ClientError:
            return {}

    def max_file_bytes(self) -> int:
        """The server's limit on one file, as its manifest tells it, or that of the settings.

        Once known it is not asked for again: an upload must not wait for a busy worker to describe itself.
        """
        if self._max_file_bytes is None:
            limits = self.manifest_of().get("limits") or {}
            if "max_bytes" not in limits:
                return self.settings.max_file_bytes
            self._max_file_bytes = int(limits["max_bytes"])
        return self._max_file_bytes

    def metrics_text(self) -> str:
        """The metrics page, in Prometheus' text form; empty where there is none.

        Raises:
            requests.RequestException: nobody answers.
        """
        if not self.settings.metrics:
            return ""
        response = requests.get(f"{self.settings.metrics}/metrics", timeout=METRICS_TIMEOUT_S, verify=trusted())
        response.raise_for_status()
        return response.text


def call_error(error: ClientError) -> Record:
    """An error of the call, in the form of a refusal; the code is the error's kind."""
    return {"code": type(error).__name__, "message": str(error)}
