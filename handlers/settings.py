"""The `handler` section of an archive's model-config YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from model_defs.caching.settings import CacheSettings
from model_defs.inference.engine import DECODE_GRACE_S, EXPLAIN_BUDGET_S
from model_defs.inference.fusion import DEFAULT_THRESHOLD, DEFAULT_WEIGHTS
from model_defs.limits import Limits


@dataclass(frozen=True)
class HandlerSettings:
    """How one worker runs its model.

    Attributes:
        variant: `auto` takes what the artifact measured as best for the device; or `fp32`, `int8`, `fp16`.
        torch_threads: threads of one forward pass. Workers share the cores, and more than one a worker
            makes them wait for each other.
        decode_threads: files of a batch decoded side by side.
        decode_grace_s: a file that is not decoded and cut this long after its decode budget is refused, whatever keeps
            its thread.
        explain_budget_s: of one batch; once it is spent, no further explanation is begun. 0 explains nothing.
        max_stuck_threads: a worker in which so many threads never came back ends itself, and is started again.
        cache: what is remembered, and where.
        fusion_weights: modality -> weight, for the ensemble.
        fusion_threshold: its p_fake from which the prediction is Fake; `make evaluate` lists candidates.
        limits: ceilings on one file.
    """

    variant: str = "auto"
    torch_threads: int = 1
    decode_threads: int = 2
    decode_grace_s: float = DECODE_GRACE_S
    explain_budget_s: float = EXPLAIN_BUDGET_S
    max_stuck_threads: int = 4
    cache: CacheSettings = CacheSettings()
    fusion_weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    fusion_threshold: float = DEFAULT_THRESHOLD
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        for name in ("torch_threads", "decode_threads", "max_stuck_threads"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"handler: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("decode_grace_s", "explain_budget_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"handler: {name} is {getattr(self, name)}; it must be 0 or more")

        if not 0 <= self.fusion_threshold <= 1:
            raise ValueError(f"handler: fusion_threshold is {self.fusion_threshold}; it must lie between 0 and 1")

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
