"""What a caller may ask of one detection, validated at the door."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from model_defs.errors import DetectionError, ErrorCode
from model_defs.preprocessing.face_detection import DETECTORS

MODALITIES = ("auto", "video", "audio")
MAX_FRAMES = 64
EXPLANATION_PARTS = ("scores", "heatmap")


@dataclass(frozen=True)
class DetectOptions:
    """The options of one request; unset ones follow the model's InputSpec.

    Attributes:
        modality: `auto` scores every track the model can; `video` or `audio` only that one.
        frames: frames sampled evenly over the clip, 1 to 64.
        interval_s: instead of `frames`: one frame each so many seconds, up to 64 frames.
        face_detector: name of a detector in `model_defs.preprocessing.face_detection.DETECTORS`.
        allow_no_face: score the centre of a picture without a face; else a clip without any has no video score.
        require_face: what is done anyway, and was an option once; it excludes `allow_no_face`.
        threshold: p_fake from which the prediction is Fake, between 0 and 1.
        uncertain_band: how near p_fake may come to the threshold before the answer says that it is uncertain,
            above 0 to 0.5; None says nothing.
        weights: modality -> fusion weight >= 0, for the ensemble.
        explain: parts of `EXPLANATION_PARTS` to explain the verdict by; on the wire also `true` for all
            of them and `false` for none.
    """

    modality: str = "auto"
    frames: int | None = None
    interval_s: float | None = None
    face_detector: str | None = None
    allow_no_face: bool = False
    require_face: bool = False
    threshold: float | None = None
    uncertain_band: float | None = None
    weights: Mapping[str, float] | None = field(default=None, hash=False)
    explain: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> DetectOptions:
        """Options from strings or JSON values, as they arrive on the wire or a command line.

        Raises:
            DetectionError: `bad_option`, naming the option and what is allowed.
        """
        known = {option.name for option in fields(cls)}
        for name in raw:
            if name not in known:
                raise _bad(name, f"is unknown; allowed: {', '.join(sorted(known))}")
        options = cls(**{name: _PARSERS[name](name, value) for name, value in raw.items()})
        if options.frames is not None and options.interval_s is not None:
            raise _bad("interval_s", "cannot be given together with 'frames'")
        if options.allow_no_face and options.require_face:
            raise _bad("allow_no_face", "cannot be given together with 'require_face'")
        return options

    @property
    def may_keep(self) -> bool:
        """Whether the answer is worth keeping: pictures are not, they weigh more than they cost to draw again."""
        return "heatmap" not in self.explain

    def cache_key(self) -> str:
        """The same text for the same options, whatever order they came in."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        return json.dumps(values, sort_keys=True, default=dict)


def _bad(name: str, problem: str) -> DetectionError:
    return DetectionError(ErrorCode.BAD_OPTION, f"option {name!r} {problem}")


def _choice(allowed: tuple[str, ...]):
    def parse(name: str, value: object) -> str:
        if value not in allowed:
            raise _bad(name, f"is {value!r}; allowed: {', '.join(allowed)}")
        return str(value)

    return parse


def _number(kind: type, low: float, high: float, *, open_low: bool = False):
    def parse(name: str, value: object) -> float | int:
        allowed = f"a{'n integer' if kind is int else ' number'} {'above' if open_low else 'from'} {low} to {high}"
        try:
            if isinstance(value, bool) or (kind is int and isinstance(value, float)):
                raise ValueError
            number = kind(value)  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError):
            raise _bad(name, f"is {value!r}; allowed: {allowed}") from None
        if not (low < number if open_low else low <= number) or not number <= high:
            raise _bad(name, f"is {value!r}; allowed: {allowed}")
        return number

    return parse


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise _bad(name, f"is {value!r}; allowed: true, false")


def _weights(name: str, value: object) -> dict[str, float]:
    allowed = 'an object of numbers from 0 to 1000, such as {"video": 0.6, "audio": 0.4}, not all 0'
    try:
        record = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        record = None
    if not isinstance(record, Mapping) or not record or set(record) - {"video", "audio"}:
        raise _bad(name, f"is {value!r}; allowed: {allowed}")
    weights = {key: _number(float, 0, 1_000)(f"{name}.{key}", part) for key, part in record.items()}
    if not any(weights.values()):
        raise _bad(name, f"is {value!r}; allowed: {allowed}")
    return weights


def _explain(name: str, value: object) -> tuple[str, ...]:
    wanted = value
    if isinstance(value, str):  # as gRPC, multipart and a command line carry it
        try:
            wanted = json.loads(value.lower())
        except (ValueError, RecursionError):
            wanted = [value]
    if isinstance(wanted, bool):
        return EXPLANATION_PARTS if wanted else ()
    if not isinstance(wanted, (list, tuple)) or any(part not in EXPLANATION_PARTS for part in wanted):
        raise _bad(name, f"is {value!r}; allowed: true, false, or a list of {', '.join(EXPLANATION_PARTS)}")
    return tuple(part for part in EXPLANATION_PARTS if part in wanted)


_PARSERS = {
    "modality": _choice(MODALITIES),
    "frames": _number(int, 1, MAX_FRAMES),
    "interval_s": _number(float, 0, 3_600, open_low=True),
    "face_detector": _choice(tuple(DETECTORS)),
    "allow_no_face": _boolean,
    "require_face": _boolean,
    "threshold": _number(float, 0, 1),
    "uncertain_band": _number(float, 0, 0.5, open_low=True),
    "weights": _weights,
    "explain": _explain,
}
