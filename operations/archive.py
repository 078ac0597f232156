"""What a model archive says of itself, read without unpacking it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from client.errors import ClientError

MANIFEST = "MAR-INF/MANIFEST.json"
RECORD = "deepdetect.json"


class ArchiveError(ClientError):
    """A file is not an archive of this project, or contradicts itself."""


@dataclass(frozen=True)
class Archive:
    """One .mar file.

    Attributes:
        name: model name.
        version: model version.
        record: its `deepdetect.json`: digests, artifacts, measured accuracy.
    """

    path: Path
    name: str
    version: str
    record: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of its code, weights and configuration, but not of its version."""
        return self.record["digest"]


def read_archive(path: Path) -> Archive:
    """Reads both manifests of an archive.

    Raises:
        ArchiveError: it is not there or no archive of this project, or its manifests or its file name
            (`ensemble-2.0.mar`) tell different versions.
    """
    try:
        with ZipFile(path) as packed:
            model = json.loads(packed.read(MANIFEST))["model"]
            record = json.loads(packed.read(RECORD))
        name, version = model["modelName"], model["modelVersion"]
        recorded = (record["name"], record["version"], record["digest"])
    except FileNotFoundError:
        raise ArchiveError(f"there is no archive {path}") from None
    except (OSError, BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ArchiveError(f"{path} is not an archive of this project: {error}") from error
    if recorded[:2] != (name, version):
        told = f"{name} {version} in {MANIFEST}, but {recorded[0]} {recorded[1]} in {RECORD}"
        raise ArchiveError(f"{path.name} contradicts itself: it is {told}")
    if path.stem not in (name, f"{name}-{version}"):
        raise ArchiveError(f"{path.name} holds {name} {version}; its name would be {name}-{version}.mar")
    return Archive(path, name, version, record)
