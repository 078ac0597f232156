"""Preprocessed samples as bytes, without pickle: arrays as safetensors, everything else as JSON among them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model_defs.errors import DetectionError, ErrorCode
from model_defs.notes import Note

ABOUT = "about"  # the tensor that holds the JSON


@dataclass(frozen=True)
class TrackSample:
    """What one track of a file gave: a sample, or the refusal of that track.

    Attributes:
        file_type: `video` or `audio`, of the whole file.
        warnings: what decoding lived with.
        sample: a dataclass of arrays, tensors and JSON values, such as VideoSample; None where the track was refused.
        refusal: why.
    """

    file_type: str
    warnings: tuple[Note, ...]
    sample: Any = None
    refusal: DetectionError | None = None


def pack(track: TrackSample) -> bytes:
    """The track as bytes that `unpack` reads; lists stay lists, tuples inside the sample become lists."""
    arrays, values, tensors = {}, {}, []
    for field in fields(track.sample) if track.sample is not None else ():
        value = getattr(track.sample, field.name)
        if isinstance(value, torch.Tensor):
            tensors.append(field.name)
            value = value.numpy()
        if isinstance(value, np.ndarray):
            arrays[field.name] = np.ascontiguousarray(value)
        else:
            values[field.name] = value
    refusal = track.refusal and [track.refusal.code.value, track.refusal.message]
    about = {
        "file_type": track.file_type,
        "warnings": track.warnings,
        "refusal": refusal,
        "has_sample": track.sample is not None,
        "values": values,
        "tensors": tensors,
    }
    return save({ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays})


def unpack(packed: bytes, kind: type) -> TrackSample | None:
    """The track that `pack` wrote; None for anything else.

    Args:
        kind: the dataclass of its sample.
    """
    try:
        arrays = load(packed)
        about = json.loads(arrays.pop(ABOUT).tobytes())
        sample = None
        if about["has_sample"]:
            # What is read from a buffer cannot be written to, and torch wants what can.
            members = {name: array.copy() for name, array in arrays.items()}
            members |= {name: torch.from_numpy(members[name]) for name in about["tensors"]}
            sample = kind(**members, **about["values"])
        refusal = about["refusal"] and DetectionError(ErrorCode(about["refusal"][0]), about["refusal"][1])
        return TrackSample(about["file_type"], tuple(Note(*note) for note in about["warnings"]), sample, refusal)
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError):
        return None
