"""The corpus: hand-made files, valid ones that were damaged at random, and requests whose JSON is the attack."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from functools import cache

from tests.hostile.binary import Named
from tests.hostile.expansions import changes, expansions
from tests.hostile.matroska_files import matroska_structures
from tests.hostile.mp4_files import mp4_structures, mp4_times
from tests.hostile.mutations import mutate
from tests.hostile.references import no_media
from tests.hostile.stream_files import riff_structures, streams
from tests.hostile.valid import valid_files

SECTIONS: tuple[Callable[[], Iterator[Named]], ...] = (
    no_media,
    mp4_structures,
    mp4_times,
    matroska_structures,
    riff_structures,
    streams,
    expansions,
    changes,
)
SECOND_MUTATION = 0.4  # share of damaged files that are damaged twice


@cache
def crafted() -> tuple[Named, ...]:
    """Every hand-made file."""
    return tuple(named for section in SECTIONS for named in section())


def mutated(n_files: int, seed: int, kind: str = "") -> Iterator[Named]:
    """Valid files in turn, each with random damage; file `i` of a seed is always the same.

    Args:
        kind: only files whose name in `valid.py` has this in it, such as `mpegts`.
    """
    files = [(name, data) for name, data in valid_files().items() if kind in name]
    for index in range(n_files):
        draw = random.Random(f"{seed}/{index}")
        name, data = files[index % len(files)]
        operators = []
        for _ in range(1 + (draw.random() < SECOND_MUTATION)):
            operator, data = mutate(draw, data, draw.choice(files)[1])
            operators.append(operator)
        yield f"{name}, {' and '.join(operators)} (seed {seed}, file {index})", data


def json_bodies(valid: bytes) -> Iterator[Named]:
    """Bodies for the JSON door: what they say, or what their base64 holds, is the attack.

    Args:
        valid: a file that the model would judge.
    """
    text = base64.b64encode(valid).decode()
    for name, payload in (
        ("zeros", bytes(6_000_000)),
        ("text", b"a" * 3_000_000),
        ("film within base64", text.encode()),
    ):
        yield f"base64 bomb of {name}", _json(data=base64.b64encode(payload).decode())
    yield "base64 of nothing", _json(data="")
    yield "base64 of padding", _json(data="=" * 1_000_000)
    yield "base64 of blank lines", _json(data="\r\n" * 500_000)
    yield "base64 with other letters", _json(data=text.replace("A", "*"))
    yield "base64 cut short", _json(data=text[:-3])
    yield "base64 within base64", _json(data=base64.b64encode(base64.b64encode(valid)).decode())
    yield "eight bombs in one request", _json(instances=[base64.b64encode(bytes(500_000)).decode()] * 8)
    yield "nine files in one request", _json(instances=[text] * 9)
    yield "ten thousand instances", _json(instances=[""] * 10_000)
    yield "no instances", _json(instances=[])
    yield "data that is a number", _json(data=7)
    yield "data that is a list", _json(data=[text])
    yield "data within data", _json(data={"b64": {"b64": text}})
    yield "a number of 100,000 digits", b'{"data": ' + b"9" * 100_000 + b"}"
    yield "lists 50,000 deep", b'{"data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    yield "objects 50,000 deep", b'{"data":' * 50_000 + b"1" + b"}" * 50_000
    yield "an object that does not end", b'{"data": "' + text.encode()
    yield "no JSON", b"\xff\xfe" + valid
    yield "the same name twice", b'{"data": "", "data": "AAAA"}'
    yield "options that are NaN", b'{"data": "' + text.encode() + b'", "options": {"threshold": NaN}}'
    yield "frames without end", _json(data=text, options={"frames": 10**30})
    yield "100,000 options", _json(data=text, options={f"o{index}": index for index in range(20_000)})
    yield "a file name of a million letters", _json(data=text, file_name="a" * 1_000_000)
    yield "half a surrogate for a name", b'{"data": "' + text.encode() + b'", "file_name": 7}'


def _json(**members) -> bytes:
    return json.dumps(members).encode()
