"""From scores to the part of an answer that depends on content, model and options alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from model_defs.calibration import DIGITS
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.fusion import DEFAULT_THRESHOLD, fuse
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictor import Predictor, Score
from model_defs.inference.samples import FileTracks
from model_defs.inference.seconds import segments_above
from model_defs.notes import Note


def verdict(
    tracks: FileTracks,
    scores: Mapping[str, Score],
    options: DetectOptions,
    predictors: Mapping[str, Predictor],
    weights: Mapping[str, float],
    fusion_threshold: float = DEFAULT_THRESHOLD,
) -> dict:
    """The answer of the request contract, less what tells of the model and of the request.

    Args:
        scores: modality -> score, at least one.
        predictors: modality -> who gave it.
        weights: modality -> fusion weight.
        fusion_threshold: of a verdict on several modalities; one alone has its model's.
    """
    started = time.perf_counter()
    trusted = {modality: weights.get(modality, 1.0) * score.trust for modality, score in scores.items()}
    p_fake, shares = fuse({modality: score.p_fake for modality, score in scores.items()}, trusted)
    fuse_s = time.perf_counter() - started
    p_fake = round(p_fake, DIGITS)
    threshold = _threshold(options, scores, predictors, fusion_threshold)
    is_fake = p_fake >= threshold
    probabilities = {"real": round(1.0 - p_fake, DIGITS), "fake": p_fake}
    band = options.uncertain_band
    segments = _segments(scores, threshold)
    notes = _notes(tracks, scores)
    if segments and not is_fake:
        notes.append(Note("fake_segments", _told(segments)))
    return {
        "prediction": "Fake" if is_fake else "Real",
        "confidence": probabilities["fake" if is_fake else "real"],
        "probabilities": probabilities,
        "threshold": threshold,
        **({} if band is None else {"uncertain": round(abs(p_fake - threshold), DIGITS) <= band}),
        "file_type": tracks.file_type,
        "modalities": {
            modality: {
                "p_fake": round(score.p_fake, DIGITS),
                "weight": round(shares[modality], DIGITS),
                "variant": predictors[modality].artifact.variant,
                **score.details,
            }
            for modality, score in scores.items()
        }
        | tracks.unscored,
        "segments": segments,
        "warnings": [note.message for note in notes],
        "warning_codes": [note.code for note in notes],
        "timings_s": _timings(tracks, scores) | {"fuse": round(fuse_s, 6)},
    }


def gravest(refusals: Iterable[DetectionError]) -> DetectionError:
    """Of several refusals the one that tells most: a missing track says less than a broken one."""
    absent = (ErrorCode.NO_VIDEO_TRACK, ErrorCode.NO_AUDIO_TRACK)
    return min(refusals, key=lambda refusal: refusal.code in absent)


def _threshold(
    options: DetectOptions, scores: Mapping[str, Score], predictors: Mapping[str, Predictor], of_fused: float
) -> float:
    """The caller's threshold, else that of the one model, or of the fused probability."""
    if options.threshold is not None:
        return options.threshold
    return of_fused if len(scores) > 1 else predictors[next(iter(scores))].calibration.threshold


def _notes(tracks: FileTracks, scores: Mapping[str, Score]) -> list[Note]:
    missing = [
        Note(refusal.code.value, f"{modality} was not scored: {refusal.message}")
        for modality, refusal in tracks.refusals.items()
    ]
    return [*tracks.warnings, *missing, *(note for score in scores.values() for note in score.warnings)]


def _segments(scores: Mapping[str, Score], threshold: float) -> list[dict]:
    """Runs of seconds at or above the threshold, a modality after the other."""
    return [
        {"modality": modality, **segment}
        for modality, score in scores.items()
        for segment in segments_above(score.details.get("scores", ()), threshold)
    ]


def _told(segments: Sequence[Mapping]) -> str:
    longest = max(segments, key=lambda segment: segment["p_fake"])
    return (
        f"the clip as a whole is below the threshold, but {len(segments)} part(s) of it are not: the highest is "
        f"{longest['modality']} from {longest['start_s']:g} to {longest['end_s']:g} s with {longest['p_fake']:.2f}"
    )


def _timings(tracks: FileTracks, scores: Mapping[str, Score]) -> dict[str, float]:
    """Seconds this file spent in each stage, summed over its modalities; what was remembered took none."""
    timings = {"decode": tracks.decode_s} if tracks.was_decoded else {}
    for modality, score in scores.items():
        for stage, seconds in (score.timings_s or {}).items():
            if stage == "forward" or modality not in tracks.remembered:
                timings[stage] = timings.get(stage, 0.0) + seconds
    return {stage: round(seconds, 5) for stage, seconds in timings.items()}
