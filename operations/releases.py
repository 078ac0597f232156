"""What happens to a version: registered and checked, promoted, rolled back, removed.

releases = Releases(TorchServe.of_project(), keys=find_keys())
releases.register("ensemble-2.0.mar", clip)
releases.promote("ensemble", "2.0")
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.errors import ClientError, RequestFailed, TimedOut
from client.management import DefaultVersion, ServedVersion
from client.reply import Reply
from operations.archive import Archive, ArchiveError, read_archive
from operations.drain import drain
from operations.registry import Registry, Release
from operations.server import TorchServe

OF_THE_WORKER = {"worker", "limits"}  # what a describe request adds to the manifest of the archive
LOG_LINES = 30
MAX_SHOWN = 4  # differences between two manifests


class ReleaseError(ClientError):
    """A step was refused; the message says why, and what is allowed."""


@dataclass(frozen=True)
class Warmed:
    """A registered version, and what it made of its first file."""

    served: ServedVersion
    reply: Reply
    latency_s: float
    was_there: bool  # registered before, from the same contents


class Releases:
    """The versions of one server.

    Args:
        server: says where its APIs, its keys, its model store and its logs are.
    """

    def __init__(self, server: TorchServe) -> None:
        self.server = server
        self.management = server.management_api
        self.http = server.http_client()
        self.store = server.model_store
        self.registry = Registry(self.store)

    def register(self, archive: str | Path, clip: Path, n_workers: int | None = None) -> Warmed:
        """Registers an archive, and removes it again unless it is what it says and can judge a file.

        Args:
            archive: name of a file in the model store, or path of one that is copied there.
            clip: the file to judge.
            n_workers: instead of what its configuration wants.

        Raises:
            ArchiveError: it is not there, contradicts itself, or the store has another of its name.
            ReleaseError: the version is taken, a worker does not start, what is served is not what lies in the store,
                or the first file was not judged.
        """
        packed = self._stored(archive)
        data = _read(clip)
        known = self.management.find(packed.name, packed.version)
        if known is None:
            self._start(packed, n_workers)
        try:
            served = self._checked(packed)
            reply, latency_s = self._judge(served, clip.name, data)
        except ClientError:
            if known is None:
                self.management.unregister(packed.name, packed.version)
            raise
        return Warmed(served, reply, latency_s, known is not None)

    def promote(self, model: str, version: str) -> str:
        """Makes a version the default; the old one stays, ready to roll back to.

        Returns:
            The version that was the default.

        Raises:
            UnknownModel, UnknownVersion: there is none.
            ReleaseError: it is the default already, or has no READY worker.
        """
        served = self.management.get(model, version)
        old = self.management.default(model)
        if served.is_default:
            raise ReleaseError(f"{model} {version} is the default already")
        if not served.is_ready:
            raise ReleaseError(f"{model} {version} has {served.n_ready} READY workers: scale it first")
        history = self._history(model, old)
        release = self._keep(served)
        self.management.set_default(model, version)
        self.registry.set_history(model, [*history, release])
        return old.version

    def roll_back(self, model: str, clip: Path) -> tuple[str, str]:
        """Makes the previous default the default again; registers it first if it was removed.

        Returns:
            The version that was left, and the one that is the default now.

        Raises:
            ReleaseError: nothing was promoted before, or the previous archive is not what it was.
        """
        history = self.registry.history(model)
        left = self.management.default(model)
        if len(history) < 2:
            raise ReleaseError(f"{model} has nothing to roll back to: {left.version} was not promoted over another")
        if history[-1].version != left.version:
            came = f"{history[-1].version} was promoted last, but the default is {left.version}"
            raise ReleaseError(f"{model} is not where its releases end: {came}; promote the version that you want")
        previous = history[-2]
        if self.management.find(model, previous.version) is None:
            packed = self._stored(previous.archive)
            if packed.digest != previous.digest:
                changed = f"{packed.path} has digest {packed.digest[:12]}, but {previous.digest[:12]} was served"
                raise ReleaseError(f"{model} {previous.version} is not what it was: {changed}")
            self.register(previous.archive, clip)
        self.management.set_default(model, previous.version)
        self.registry.set_history(model, history[:-1])
        return left.version, previous.version

    def remove(self, model: str, version: str, drain_timeout_s: float = 60.0) -> None:
        """Unregisters a version once it has nothing in flight; its archive stays in the model store.

        Raises:
            DefaultVersion, UnknownModel, UnknownVersion: it cannot be removed.
            NotDrained: it is still asked for.
        """
        if self.management.get(model, version).is_default:
            others = [each.version for each in self.management.versions(model) if not each.is_default]
            remedy = f"promote another one first ({', '.join(others)})" if others else "it is the only version there is"
            raise DefaultVersion(f"{version} is the default of {model}: {remedy}")
        drain(self.management, self.server.metrics, model, version, drain_timeout_s)
        self.management.unregister(model, version)

    def previous(self, model: str) -> str | None:
        """The version that `roll_back` would return to."""
        history = self.registry.history(model)
        return history[-2].version if len(history) > 1 else None

    def _stored(self, archive: str | Path) -> Archive:
        path = Path(archive)
        if path.name != str(archive) and path.resolve().parent != self.store.resolve():
            return self._copied(path)
        if not (self.store / path.name).exists():
            there = ", ".join(sorted(each.name for each in self.store.glob("*.mar"))) or "none"
            raise ArchiveError(f"there is no {path.name} in the model store {self.store}; archives there: {there}")
        return read_archive(self.store / path.name)

    def _copied(self, path: Path) -> Archive:
        """An archive that lies elsewhere, copied into the model store, which is where TorchServe loads from."""
        if path.suffix != ".mar":
            raise ArchiveError(f"{path} is not in the model store {self.store}, and no archive to be copied there")
        packed, target = read_archive(path), self.store / path.name
        if target.exists() and read_archive(target).digest != packed.digest:
            raise ArchiveError(f"the model store {self.store} has another {path.name}; give yours another version")
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.copyfile(path, partial)
            partial.replace(target)
        return read_archive(target)

    def _start(self, packed: Archive, n_workers: int | None) -> None:
        size_bytes = self.server.logs.workers_size_bytes()
        try:
            self.management.register(packed.path.name)
            if n_workers:
                self.management.scale(packed.name, packed.version, n_workers)
        except (RequestFailed, TimedOut) as error:
            if self.management.find(packed.name, packed.version):
                self.management.unregister(packed.name, packed.version)
            said = "\n".join(self.server.logs.workers_since(size_bytes, packed.name, packed.version)[-LOG_LINES:])
            log = f"\nIts worker's last words:\n{said}" if said else f"; see {self.server.log_dir}"
            raise ReleaseError(f"{packed.path.name} was not registered: {error}{log}") from error

    def _checked(self, packed: Archive) -> ServedVersion:
        """The version as it is served, if that is the archive that lies in the store."""
        served = self.management.describe(packed.name, packed.version)
        stored = _flat(packed.record)
        told = _flat({key: value for key, value in (served.manifest or {}).items() if key not in OF_THE_WORKER})
        if different := sorted(key for key in stored.keys() | told.keys() if stored.get(key) != told.get(key)):
            shown = "; ".join(f"{key} is {told.get(key)}, not {stored.get(key)}" for key in different[:MAX_SHOWN])
            raise ReleaseError(f"what is served as {packed.name} {packed.version} is not {packed.path}: {shown}")
        if not served.is_ready:
            raise ReleaseError(f"{packed.name} {packed.version} has {served.n_ready} of {served.min_workers} workers")
        return served

    def _judge(self, served: ServedVersion, file_name: str, data: bytes) -> tuple[Reply, float]:
        started = time.perf_counter()
        reply = self.http.predict(served.model, data, file_name=file_name, version=served.version)
        latency_s = time.perf_counter() - started
        if reply.error_code:
            raise ReleaseError(f"{served.model} {served.version} refused {file_name}: {reply.body['error']['message']}")
        answered = reply.body["model"]
        if (answered["name"], answered["version"]) != (served.model, served.version):
            raise ReleaseError(f"{served.model} {served.version} answers as {answered['name']} {answered['version']}")
        return reply, latency_s

    def _history(self, model: str, default: ServedVersion) -> list[Release]:
        """The past, ending with what is the default now, whoever set it."""
        history = self.registry.history(model)
        if history and history[-1].version == default.version:
            return history
        return [*history, self._keep(default)]

    def _keep(self, served: ServedVersion) -> Release:
        """Makes sure that the archive is found again: `make archive` replaces ensemble.mar, not ensemble-1.0.mar."""
        digest = self.management.describe(served.model, served.version).manifest["digest"]
        kept = self.store / f"{served.model}-{served.version}.mar"
        source = self.store / served.archive
        if not kept.exists() and source.exists() and read_archive(source).digest == digest:
            try:
                os.link(source, kept)
            except OSError:  # a file system without hard links
                shutil.copyfile(source, kept)
        return Release(served.version, kept.name, digest)


def _read(clip: Path) -> bytes:
    try:
        return clip.read_bytes()
    except OSError as error:
        raise ReleaseError(f"a file to judge first cannot be read: {clip}: {error.strerror}") from error


def _flat(record: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """`{"artifacts.audio.torch": "2.8.0", ...}`, without nulls: TorchServe drops them from what it passes on."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{path}{key}.")
        elif value is not None:
            flat[path + key] = value
    return flat
