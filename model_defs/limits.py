"""How much one upload may cost: the section `handler.limits` of a model configuration, read once."""

from __future__ import annotations

from dataclasses import dataclass, fields

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Ceilings on one file; a refusal names the limit that was passed, its value, and what the file has.

    The first ones are held to before anything is decoded, the others on the way. `docs/serving/configure.md` says of
    each how it is meant and which code refuses.
    """

    max_bytes: int = 100 * MIB  # size of the file itself
    max_header_bytes: int = 16 * MIB  # read before the first packet; 4 hours of mp4 index are about 12 MiB
    max_block_bytes: int = 128 * MIB  # one piece of memory that libav asks for; holds for the whole process
    max_duration_s: float = 4 * 3600.0  # as declared, else as the packets tell
    max_tracks: int = 32  # of any kind, attachments included
    max_pixels: int = 4096 * 4096  # width x height of one frame, as declared or decoded
    max_audio_rate_hz: int = 384_000
    max_audio_channels: int = 32
    max_packets: int = 3_000_000  # demuxed, those of repeated passes included
    max_expansion: float = 4.0  # bytes of packets that one pass unpacks, over bytes of the file
    max_frames: int = 30_000  # pictures decoded, kept or not: 20 minutes of a film without keyframes
    decode_budget_s: float = 20.0  # wall time for opening, demuxing and decoding

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                raise ValueError(f"limit {field.name} is {value!r}; it must be a number above 0")

    @classmethod
    def from_dict(cls, record: dict) -> Limits:
        """Limits from a configuration section; what is left out keeps its default.

        Raises:
            ValueError: a key is unknown or a value is not a number above 0.
        """
        known = {field.name for field in fields(cls)}
        if unknown := set(record) - known:
            raise ValueError(f"unknown limit {sorted(unknown)}; allowed: {sorted(known)}")
        return cls(**record)
