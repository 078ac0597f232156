"""How much one upload may cost; read once from configuration."""

from __future__ import annotations

from dataclasses import dataclass, fields

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Ceilings on one file; each refusal names the limit that was passed."""

    max_bytes: int = 100 * MIB  # size of the file itself
    max_duration_s: float = 4 * 3600.0
    max_pixels: int = 4096 * 4096  # width x height of one frame, as declared or decoded
    max_streams: int = 16  # tracks of any kind in one file
    decode_budget_s: float = 20.0  # wall time for demuxing and decoding one file

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"limit {field.name} is {getattr(self, field.name)}; it must be above 0")

    @classmethod
    def from_dict(cls, record: dict) -> Limits:
        """Limits from a configuration section; what is left out keeps its default.

        Raises:
            ValueError: a key is unknown or a value is not above 0.
        """
        known = {field.name for field in fields(cls)}
        if unknown := set(record) - known:
            raise ValueError(f"unknown limit {sorted(unknown)}; allowed: {sorted(known)}")
        return cls(**record)
