"""Typed calls to TorchServe's management API; knows the wire and nothing else.

    management = Management("http://127.0.0.1:8081")
    [served.version for served in management.versions("ensemble")]
    management.set_default("ensemble", "2.0")

What TorchServe 0.12 would do silently is refused or completed here: workers are scaled with both bounds, always
synchronously; an unknown version is answered with those that there are; the default version is not removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests

from client.errors import ClientError, RequestFailed, ServerUnavailable, TimedOut
from client.keys import KeySource, find_keys, trusted, with_key
from client.reply import raise_if_key_refused

STARTUP_TIMEOUT_S = 300.0  # workers load torch, and a busy machine takes its time


class UnknownModel(ClientError):
    """The server has no such model; the message names those it has."""


class UnknownVersion(ClientError):
    """The model has no such version; the message names those it has."""


class DefaultVersion(ClientError):
    """The version is the default, and cannot be removed."""


@dataclass(frozen=True)
class Worker:
    """One worker process; `status` is READY or UNLOADING."""

    pid: int
    status: str
    memory_bytes: int


@dataclass(frozen=True)
class ServedVersion:
    """One registered version of a model.

    Attributes:
        archive: what it was registered from, such as `ensemble-2.0.mar`.
        is_default: whether requests that name no version go to it.
        min_workers: workers that TorchServe keeps alive.
        n_pending: requests in its queue; those that a worker is at do not count.
        response_timeout_s: the longest that a batch may take.
        manifest: what its handler answers to a describe request: `deepdetect.json` and the worker that answered;
            None unless asked for.
    """

    model: str
    version: str
    archive: str
    is_default: bool
    min_workers: int
    max_workers: int
    workers: tuple[Worker, ...]
    n_pending: int
    response_timeout_s: float
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def n_ready(self) -> int:
        return sum(worker.status == "READY" for worker in self.workers)

    @property
    def is_ready(self) -> bool:
        """Whether all the workers that it should have are READY, and there is one."""
        return self.n_ready >= max(1, self.min_workers)


class Management:
    """The management API of one server.

    Args:
        address: such as `http://127.0.0.1:8081`.
        keys: where the management key comes from; None finds it, see client/keys.py.
        verify: a file of certificates to trust, or False; None takes DEEPDETECT_CA_FILE, or what the system trusts.
        timeout_s: for calls that start no worker.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8081",
        *,
        keys: KeySource | None = None,
        verify: bool | str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.address = address
        self.keys = find_keys() if keys is None else keys
        self.verify = trusted() if verify is None else verify
        self.timeout_s = timeout_s

    def models(self) -> list[str]:
        """The names of all models, sorted.

        Raises:
            ServerUnavailable: nobody answers. This and RequestFailed may come of every call.
        """
        names, token = [], None
        while True:
            page = self._call("GET", "/models", {"limit": 100} | ({"next_page_token": token} if token else {}))
            names += [model["modelName"] for model in page["models"]]
            token = page.get("nextPageToken")
            if not token:
                return sorted(names)

    def versions(self, model: str) -> list[ServedVersion]:
        """All versions of a model, the lowest first.

        Raises:
            UnknownModel: there is no such model.
        """
        default = self._describe(model)[0]["modelVersion"]
        served = [_served(record, default) for record in self._describe(model, "all")]
        return sorted(served, key=lambda each: float(each.version))

    def get(self, model: str, version: str) -> ServedVersion:
        """One version, without its manifest.

        Raises:
            UnknownModel, UnknownVersion: there is none.
        """
        versions = self.versions(model)
        for served in versions:
            if served.version == version:
                return served
        known = ", ".join(served.version + (" (default)" if served.is_default else "") for served in versions)
        raise UnknownVersion(f"{model} has no version {version}; registered: {known}")

    def default(self, model: str) -> ServedVersion:
        """The version that requests without one go to.

        Raises:
            UnknownModel: there is no such model.
        """
        record = self._describe(model)[0]
        return _served(record, record["modelVersion"])

    def describe(self, model: str, version: str, *, timeout_s: float | None = None) -> ServedVersion:
        """One version with its manifest, for which a worker is asked: the call waits behind the requests in its queue.

        Raises:
            UnknownModel, UnknownVersion: there is none.
        """
        default = self._describe(model)[0]["modelVersion"]
        record = self._describe(model, version, {"customized": "true"}, timeout_s=timeout_s)[0]
        manifest = record.get("customizedMetadata")
        if not isinstance(manifest, dict):
            raise RequestFailed(200, f"{model} {version} did not tell its manifest: {manifest}")
        return _served(record, default, manifest)

    def register(
        self,
        archive: str,
        timeout_s: float = STARTUP_TIMEOUT_S,
        *,
        batch_size: int | None = None,
        max_batch_delay_ms: int | None = None,
    ) -> None:
        """Registers an archive of the model store, and waits for the workers that its configuration wants.

        Args:
            batch_size, max_batch_delay_ms: what its configuration says, where None. The number of workers cannot be
                changed so; `scale` does.

        Raises:
            RequestFailed: 404 not in the model store, 409 that version is registered, 500 a worker does not start.
        """
        wanted = {
            "url": archive,
            "batch_size": batch_size,
            "max_batch_delay": max_batch_delay_ms,
            "synchronous": "true",
        }
        parameters = {name: value for name, value in wanted.items() if value is not None}
        self._call("POST", "/models", parameters, timeout_s=timeout_s)

    def scale(self, model: str, version: str, n_workers: int, timeout_s: float = STARTUP_TIMEOUT_S) -> None:
        """Gives a version so many workers, and waits for them. Those that go lose the batch that they are at.

        Raises:
            UnknownModel, UnknownVersion: there is none.
        """
        self.get(model, version)
        workers = {"min_worker": n_workers, "max_worker": n_workers, "synchronous": "true"}
        self._call("PUT", f"/models/{quote(model)}/{quote(version)}", workers, timeout_s=timeout_s)

    def set_default(self, model: str, version: str) -> None:
        """From now on requests that name no version go to this one.

        Raises:
            UnknownModel, UnknownVersion: there is none.
        """
        self.get(model, version)
        self._call("PUT", f"/models/{quote(model)}/{quote(version)}/set-default")

    def unregister(self, model: str, version: str) -> None:
        """Removes a version at once: what is in its queue or with its workers fails. See `operations.drain`.

        Raises:
            DefaultVersion: it is the default version, and not the only one.
            UnknownModel, UnknownVersion: there is none.
        """
        self.get(model, version)
        others = [served.version for served in self.versions(model) if served.version != version]
        if others and self.default(model).version == version:
            there = ", ".join(others)
            raise DefaultVersion(f"{version} is the default of {model}: promote another version first, such as {there}")
        self._call("DELETE", f"/models/{quote(model)}/{quote(version)}", timeout_s=STARTUP_TIMEOUT_S)

    def find(self, model: str, version: str) -> ServedVersion | None:
        """A version; None if the model or the version is not there."""
        try:
            return self.get(model, version)
        except (UnknownModel, UnknownVersion):
            return None

    def _describe(
        self, model: str, version: str = "", parameters: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> list[dict[str, Any]]:
        path = f"/models/{quote(model)}" + (f"/{quote(version)}" if version else "")
        try:
            return self._call("GET", path, parameters, timeout_s=timeout_s)
        except RequestFailed as error:
            if error.status != 404:
                raise
            if version not in ("", "all"):
                self.get(model, version)
            raise UnknownModel(f"there is no model {model}; registered: {', '.join(self.models()) or 'none'}") from None

    def request(
        self, method: str, path: str, parameters: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> requests.Response:
        """One call with the management key, whatever its status.

        Raises:
            KeyRefused: the server wants another key.
            requests.RequestException: nobody answers.
        """

        def call(key: Mapping[str, str]) -> requests.Response:
            response = requests.request(
                method,
                self.address + path,
                params=parameters,
                headers=key,
                timeout=timeout_s or self.timeout_s,
                verify=self.verify,
            )
            raise_if_key_refused(response)
            return response

        return with_key(self.keys, "management", call)

    def _call(
        self, method: str, path: str, parameters: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> Any:
        try:
            response = self.request(method, path, parameters, timeout_s)
        except requests.Timeout as error:
            raise TimedOut(f"{self.address}{path} gave no answer in {timeout_s or self.timeout_s:g} s") from error
        except requests.RequestException as error:
            raise ServerUnavailable(f"{self.address} does not answer, is the server running? {error}") from error
        if not response.ok:
            raise RequestFailed(response.status_code, _message(response))
        return response.json()


def _served(record: Mapping[str, Any], default: str, manifest: dict[str, Any] | None = None) -> ServedVersion:
    workers = [Worker(worker["pid"], worker["status"], worker["memoryUsage"]) for worker in record["workers"]]
    return ServedVersion(
        model=record["modelName"],
        version=record["modelVersion"],
        archive=record["modelUrl"],
        is_default=record["modelVersion"] == default,
        min_workers=record["minWorkers"],
        max_workers=record["maxWorkers"],
        workers=tuple(workers),
        n_pending=record["jobQueueStatus"]["pendingRequests"],
        response_timeout_s=record["responseTimeout"],
        manifest=manifest or {},
    )


def _message(response: requests.Response) -> str:
    try:
        return response.json()["message"]
    except (ValueError, KeyError, TypeError):
        return response.text or response.reason
