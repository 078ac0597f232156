"""Archives for a measurement: the project's own with other settings, and small ones around a handler of a few lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

MANIFEST, RECORD = "MAR-INF/MANIFEST.json", "deepdetect.json"


def model_config(archive: Path) -> dict[str, Any]:
    """The model configuration inside an archive."""
    with zipfile.ZipFile(archive) as opened:
        model = json.loads(opened.read(MANIFEST))["model"]
        return yaml.safe_load(opened.read(model["configFile"]))


def copy_archive(source: Path, destination: Path, settings: Mapping[str, Any], version: str = "") -> None:
    """The same code and weights under another name or version, and with other settings.

    Args:
        source: an archive of the project.
        destination: where the copy goes; its model is named like the file, less the version (`ensemble-2.0.mar`).
        settings: what differs in the model configuration, section by section: {"handler": {"variant": "fp32"}}.
        version: of the copy; that of the original unless told otherwise.
    """
    name = destination.stem.removesuffix(f"-{version}")
    with (
        zipfile.ZipFile(source) as original,
        zipfile.ZipFile(destination, "w", zipfile.ZIP_STORED) as copy,
    ):
        manifest = json.loads(original.read(MANIFEST))
        config_file = manifest["model"]["configFile"]
        for entry in original.infolist():
            content = original.read(entry)
            if entry.filename == config_file:
                content = yaml.safe_dump(_merged(yaml.safe_load(content), settings)).encode()
            elif entry.filename == MANIFEST:
                model = manifest["model"] | {"modelName": name} | ({"modelVersion": version} if version else {})
                content = json.dumps(manifest | {"model": model}).encode()
            elif entry.filename == RECORD:
                record = json.loads(content) | {"name": name} | ({"version": version} if version else {})
                content = json.dumps(record).encode()
            copy.writestr(entry, content)


def build_archive(
    destination: Path, handler: Path, config: Mapping[str, Any], extra_files: Iterable[Path] = ()
) -> None:
    """An archive around one handler file; its model is named like the archive."""
    with tempfile.TemporaryDirectory(prefix="archiver-") as temporary:
        config_file = Path(temporary, "model.yaml")
        config_file.write_text(yaml.safe_dump(dict(config)))
        options = {
            "--model-name": destination.stem,
            "--version": "1.0",
            "--handler": handler,
            "--config-file": config_file,
            "--export-path": destination.parent,
        }
        command = [sys.executable, "-m", "model_archiver.model_packaging"]
        command += [str(part) for option in options.items() for part in option]
        if extra := ",".join(str(path) for path in extra_files):
            command += ["--extra-files", extra]
        # The archiver deletes $TMPDIR/<model name> first.
        environment = os.environ | {"TMPDIR": temporary}
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def _merged(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(config)
    for key, value in settings.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged
