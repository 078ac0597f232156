"""How an engine runs, spelled once: the `handler` section of a model configuration is read into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from model_defs.inference.fusion import DEFAULT_THRESHOLD, DEFAULT_WEIGHTS
from model_defs.limits import Limits


@dataclass(frozen=True)
class EngineSettings:
    """How files are decoded and fused.

    Attributes:
        decode_threads: files of a batch decoded side by side.
        decode_grace_s: a file that is not decoded and cut this long after its decode budget is refused, whatever keeps
            its thread.
        explain_budget_s: of one batch; once it is spent, no further explanation is begun, for neighbours wait for it.
            0 explains nothing.
        fusion_weights: modality -> weight in the ensemble, unless the request brings its own.
        fusion_threshold: its p_fake from which the prediction is Fake, unless the request brings its own;
            `make evaluate` lists candidates.
        limits: ceilings on one file.

    Raises:
        ValueError: a value is out of range.
    """

    decode_threads: int = 2
    decode_grace_s: float = 5.0
    explain_budget_s: float = 10.0
    fusion_weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    fusion_threshold: float = DEFAULT_THRESHOLD
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not self.decode_threads >= 1:
            raise ValueError(f"decode_threads is {self.decode_threads}; it must be at least 1")
        for name in ("decode_grace_s", "explain_budget_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 <= self.fusion_threshold <= 1:
            raise ValueError(f"fusion_threshold is {self.fusion_threshold}; it must lie between 0 and 1")
