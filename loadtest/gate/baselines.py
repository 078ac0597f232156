"""Stored baselines: one file for each combination of hardware and versions, for on another one figures are others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.gate.comparison import Series
from loadtest.measure.results import Machine
from operations.settings import PROJECT_DIR

BASELINES_DIR = PROJECT_DIR / "config" / "baselines"
KEY_VERSIONS = ("python", "torch", "torchserve")


class BaselineError(ValueError):
    """A stored baseline cannot be used; the message says why."""


@dataclass(frozen=True)
class Baseline:
    """What a machine once measured.

    Attributes:
        machine: with the digests of the archives.
        load: what was sent, such as `20 requests a round, one caller, clip 3f...`; another load is not compared.
        series: model -> its rounds.
    """

    machine: Machine
    load: str
    series: Mapping[str, Series]

    def save(self, directory: Path = BASELINES_DIR) -> Path:
        """Writes it under its machine's key; returns the path."""
        directory.mkdir(parents=True, exist_ok=True)
        path = baseline_path(self.machine, directory)
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True, default=list) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load_for(cls, machine: Machine, directory: Path = BASELINES_DIR) -> Baseline | None:
        """The one of this machine's hardware and versions; None where there is none.

        Raises:
            BaselineError: the file is there, and is none.
        """
        path = baseline_path(machine, directory)
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            series = {
                model: Series(
                    **{key: tuple(value) if isinstance(value, list) else value for key, value in each.items()}
                )
                for model, each in record["series"].items()
            }
            return cls(Machine(**record["machine"]), record["load"], series)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BaselineError(f"{path} is no baseline: {error}; `make gate STORE=1` writes it anew") from error


def baseline_path(machine: Machine, directory: Path = BASELINES_DIR) -> Path:
    """The file of its key, such as `2-cores-of-amd-epyc_python-3.11.9_torch-2.8.0_torchserve-0.12.0.json`."""
    parts = [machine.hardware, machine.gpu, *(f"{name} {machine.versions[name]}" for name in KEY_VERSIONS)]
    return directory / ("_".join(_slug(part) for part in parts if part) + ".json")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
