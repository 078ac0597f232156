"""The `handler` section of an archive's model-config YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from model_defs.fusion import DEFAULT_WEIGHTS
from model_defs.limits import Limits


@dataclass(frozen=True)
class HandlerSettings:
    """How one worker runs its model.

    Attributes:
        variant: `auto` takes what the artifact measured as best for the device; or `fp32`, `int8`, `fp16`.
        torch_threads: threads of one forward pass. Workers share the cores, and more than one a worker
            makes them wait for each other.
        decode_threads: files of a batch decoded side by side.
        cache_items: answers remembered; 0 remembers none.
        fusion_weights: modality -> weight, for the ensemble.
        limits: ceilings on one file.
    """

    variant: str = "auto"
    torch_threads: int = 1
    decode_threads: int = 2
    cache_items: int = 100
    fusion_weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.torch_threads < 1 or self.decode_threads < 1 or self.cache_items < 0:
            raise ValueError("handler: torch_threads and decode_threads must be at least 1, cache_items at least 0")

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
        return cls(**values)
