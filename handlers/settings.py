"""The `handler` section of an archive's model-config YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from model_defs.caching.settings import CacheSettings
from model_defs.inference.settings import EngineSettings
from model_defs.limits import Limits


@dataclass(frozen=True)
class HandlerSettings(EngineSettings):
    """How one worker runs its model: what an engine is told, and what is of the worker.

    Attributes:
        variant: `auto` takes what the artifact measured as best for the device; or `fp32`, `int8`, `fp16`.
        max_stuck_threads: a worker in which so many threads never came back ends itself, and is started again.
        cache: what is remembered, and where.
    """

    variant: str = "auto"
    max_stuck_threads: int = 4
    cache: CacheSettings = CacheSettings()

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except ValueError as error:
            raise ValueError(f"handler: {error}") from None
        if not self.max_stuck_threads >= 1:
            raise ValueError(f"handler: max_stuck_threads is {self.max_stuck_threads}; it must be at least 1")

    @classmethod
    def from_dict(cls, record: Mapping[str, Any] | None) -> HandlerSettings:
        """The settings of a configuration section; what is left out keeps its default.

        Raises:
            ValueError: a key is unknown or a value is out of range.
        """
        values = dict(record or {})
        known = {setting.name for setting in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"handler: unknown setting {sorted(unknown)}; allowed: {sorted(known)}")
        if "limits" in values:
            values["limits"] = Limits.from_dict(values["limits"])
        if "cache" in values:
            values["cache"] = CacheSettings.from_dict(values["cache"])
        return cls(**values)
