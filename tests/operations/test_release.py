"""What `deepdetect-release` prints, without a server."""

from __future__ import annotations

import argparse
import io
from dataclasses import replace
from types import SimpleNamespace

from rich.console import Console

from client.management import ServedVersion, Worker
from operations.release import _list

FIGURES = {"splits": {"test": {"fp32": {"measures": {"auc": {"value": 0.8123, "low": 0.7, "high": 0.9}}}}}}
MANIFEST = {
    "digest": "0123456789abcdef",
    "artifacts": {part: {"figures": FIGURES} for part in ("video", "audio")},
    "worker": {"variants": {"video": "fp32", "audio": "fp32"}},
}
OLD = ServedVersion("ensemble", "1.0", "ensemble.mar", True, 1, 1, (Worker(1, "READY", 1),), 100, 120.0)


def test_the_list_fits_eighty_columns():
    new = replace(OLD, version="12.34", is_default=False)
    management = SimpleNamespace(
        models=lambda: ["ensemble"],
        versions=lambda model: [OLD, new],
        describe=lambda model, version: replace(OLD if version == "1.0" else new, manifest=MANIFEST),
    )
    releases = SimpleNamespace(management=management, previous=lambda model: "12.34")
    result = _list(releases, argparse.Namespace(model=None))
    file = io.StringIO()
    Console(file=file, width=80).print(result.text)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if "12.34" in line]
    for cell in ("ensemble", "previous", "1 of 1", "100", "0123456789ab", "video fp32", "0.812"):
        assert cell in row, row
