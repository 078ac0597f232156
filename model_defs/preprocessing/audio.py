"""From the sound of a clip to what an audio network is fed.

Digital silence is cut out, other silence trimmed off, the level brought to one value, the sound cut into
windows of one length that cover all of it, and each window turned into features.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from model_defs.decoding.media import AudioSegment, Media
from model_defs.errors import DetectionError, ErrorCode
from model_defs.notes import Note
from model_defs.preprocessing.digital_silence import block_peaks, find_sound
from model_defs.spec import AudioSpec

# Loudness is the RMS of short frames, with the sizes of librosa.effects.trim.
FRAME_LENGTH = 2_048
FRAME_HOP = 512
SILENCE_DBFS = -70.0  # no frame louder than this: silence, for it is below the hiss of any microphone
PEAK_LIMIT = 1.0  # the gain stops short of clipping


@dataclass(frozen=True)
class AudioSample:
    """One clip, ready for an audio network.

    Attributes:
        starts_s: where each window starts in the clip.
        features: (W, n_steps, n_features) float32, W windows.
        features_s: wall time spent here.
        voices: whose windows these are, in order: `track`, `channels` and `windows` (how many) of each; empty is one.
        n_tracks: audio tracks of the file, scored or not.
    """

    starts_s: list[float]
    features: torch.Tensor
    features_s: float
    warnings: list[Note] = field(default_factory=list)
    voices: list[dict] = field(default_factory=list)
    n_tracks: int = 1


def decode_audio_sample(media: Media, spec: AudioSpec, frontend: nn.Module) -> AudioSample:
    """The sound of an opened file, decoded where it is scored, every voice by itself; see `audio_sample`.

    Raises:
        DetectionError: as `Media.voices`, and `silent_audio` where no voice has sound.
    """
    voices, samples, refusals = [], [], []
    for voice in media.voices(spec.rate_hz, spec.window_s, spec.max_windows):
        try:
            sample = audio_sample(voice.segments, spec, frontend)
        except DetectionError as refusal:
            refusals.append(refusal)
            continue
        voices.append({"track": voice.track, "channels": voice.channels, "windows": len(sample.features)})
        samples.append(sample)
        if voice.is_turned:
            message = f"channels {voice.channels} are of opposite phase: they were turned before they were mixed"
            sample.warnings.append(Note("opposite_phase", message))
    if not samples:
        raise refusals[0]
    return AudioSample(
        [start_s for sample in samples for start_s in sample.starts_s],
        torch.cat([sample.features for sample in samples]) if len(samples) > 1 else samples[0].features,
        sum(sample.features_s for sample in samples),
        list(dict.fromkeys(note for sample in samples for note in sample.warnings)),
        voices,
        media.n_audio_tracks,
    )


def audio_sample(segments: Sequence[AudioSegment], spec: AudioSpec, frontend: nn.Module) -> AudioSample:
    """The features of one clip, window by window, by `audio_features.create_frontend(spec)`.

    See `prepare_windows` for the other arguments and what is raised.
    """
    began_s = time.perf_counter()
    windows, starts_s, warnings = prepare_windows(segments, spec)
    features = frontend(torch.from_numpy(windows))
    return AudioSample(starts_s, features, time.perf_counter() - began_s, warnings)


def prepare_windows(segments: Sequence[AudioSegment], spec: AudioSpec) -> tuple[np.ndarray, list[float], list[Note]]:
    """Levelled windows of one length from the decoded sound.

    Digital silence is cut out of every segment first (`digital_silence`).

    One segment is a whole clip: silence before and after the sound is cut off, and
    the rest is covered from end to end (`whole_clip_windows`). Several segments are
    places spread over a long clip: each is one window, and silent ones are left out.
    All windows of a clip share one gain.

    Args:
        segments: what `Media.audio_segments` returned, mono float32 at `spec.rate_hz`.

    Returns:
        windows (W, n_samples) float32 with 1 <= W <= `spec.max_windows` for one segment;
        the second of the clip that each starts at; and what the caller should know.

    Raises:
        DetectionError: `silent_audio`, when less than `spec.min_speech_s` of sound is left.
    """
    waves, places = _sound_of(segments, spec.rate_hz)
    loudness = [frame_rms(wave) for wave in waves]
    loudest = max((float(frames.max()) for frames in loudness), default=0.0)
    if loudest < _amplitude(SILENCE_DBFS):
        raise DetectionError(
            ErrorCode.SILENT_AUDIO, f"the sound track is silent: nothing in it is louder than {SILENCE_DBFS:g} dBFS"
        )
    threshold = loudest * _amplitude(-spec.trim_db)
    spans = [_sound_span(frames, threshold, len(wave)) for frames, wave in zip(loudness, waves, strict=True)]
    heard = [index for index, (start, end) in enumerate(spans) if end - start >= spec.min_speech_s * spec.rate_hz]
    if not heard:
        longest_s = max(end - start for start, end in spans) / spec.rate_hz
        raise DetectionError(
            ErrorCode.SILENT_AUDIO,
            f"{longest_s:.2f} s of sound is left after trimming silence; at least {spec.min_speech_s:g} s is needed",
        )

    warnings: list[Note] = []
    if len(waves) == 1:
        start, end = spans[0]
        windows, offsets = whole_clip_windows(waves[0][start:end], spec)
        starts_s = [segments[0].start_s + _place(places[0], start + offset) / spec.rate_hz for offset in offsets]
        if end - start < spec.n_samples:
            sound_s = (end - start) / spec.rate_hz
            message = f"{sound_s:.2f} s of sound was repeated to fill a window of {spec.window_s:g} s"
            warnings.append(Note("repeated", message))
    else:
        windows = np.stack([fit_length(waves[index], spec.n_samples) for index in heard])
        starts_s = [segments[index].start_s + _place(places[index], 0) / spec.rate_hz for index in heard]
        if len(heard) < len(waves):
            message = f"{len(waves) - len(heard)} of {len(waves)} audio windows were silent and left out"
            warnings.append(Note("silent", message))
    return level(windows, spec.level_dbfs), starts_s, warnings


def whole_clip_windows(sound: np.ndarray, spec: AudioSpec) -> tuple[np.ndarray, list[int]]:
    """Cuts sound (N,) into windows (W, n_samples) from its first sample to its last.

    As few as cover it, and at most `spec.max_windows`; they start evenly apart, so
    they overlap a little, and the last one ends where the sound does.

    Returns:
        The windows, and the sample each starts at.
    """
    if len(sound) <= spec.n_samples:
        return fit_length(sound, spec.n_samples)[np.newaxis], [0]
    n_windows = min(spec.max_windows, math.ceil(len(sound) / spec.n_samples))
    starts = np.linspace(0, len(sound) - spec.n_samples, n_windows).round().astype(int).tolist()
    return np.stack([sound[start : start + spec.n_samples] for start in starts]), starts


def fit_length(sound: np.ndarray, n_samples: int) -> np.ndarray:
    """Sound (N,) as (n_samples,): cut off, or repeated from its start.

    Repeated, not filled up with zeros: features are normalised over time, so
    silence would shift them, and tell the length of the clip.
    """
    return np.resize(sound, n_samples)


def level(windows: np.ndarray, level_dbfs: float) -> np.ndarray:
    """Windows at an RMS of `level_dbfs` taken over all of them, or less where a peak would clip."""
    rms = float(np.sqrt(np.mean(np.square(windows, dtype=np.float64))))
    gain = min(_amplitude(level_dbfs) / rms, PEAK_LIMIT / float(np.abs(windows).max()))
    return (windows * gain).astype(np.float32)


def frame_rms(samples: np.ndarray) -> np.ndarray:
    """RMS of frames centred on every `FRAME_HOP`-th sample, (N // FRAME_HOP + 1,) float64.

    As `librosa.feature.rms`: beyond both ends there are zeros.
    """
    half_frame = FRAME_LENGTH // 2
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    centres = np.arange(0, len(samples) + 1, FRAME_HOP)
    first = np.clip(centres - half_frame, 0, len(samples))
    last = np.clip(centres + half_frame, 0, len(samples))
    return np.sqrt((energy[last] - energy[first]) / FRAME_LENGTH)


def _sound_span(loudness: np.ndarray, threshold: float, n_samples: int) -> tuple[int, int]:
    """First sample and the one after the last, as `librosa.effects.trim` cuts; (0, 0) when all is below."""
    loud = np.flatnonzero(loudness > threshold)
    if not len(loud):
        return 0, 0
    return int(loud[0]) * FRAME_HOP, min(n_samples, (int(loud[-1]) + 1) * FRAME_HOP)


def _sound_of(segments: Sequence[AudioSegment], rate_hz: int) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """The samples of each segment around zero, without digital silence; and where in the segment they were."""
    peaks = [block_peaks(segment.samples, rate_hz) for segment in segments]
    loudest = max((float(peak.max(initial=0.0)) for peak in peaks), default=0.0)
    places = [
        find_sound(segment.samples, rate_hz, peak, loudest) for segment, peak in zip(segments, peaks, strict=True)
    ]
    sounds = (
        segment.samples if kept is None else segment.samples[kept]
        for segment, kept in zip(segments, places, strict=True)
    )
    return [_without_offset(sound) for sound in sounds], places


def _place(places: np.ndarray | None, index: int) -> int:
    """Where sample `index` of what is left was before digital silence was cut out at all but `places`."""
    return index if places is None or not len(places) else int(places[min(index, len(places) - 1)])


def _without_offset(samples: np.ndarray) -> np.ndarray:
    """The samples around zero: a constant offset is not sound, but it would count as level."""
    return samples - samples.mean() if len(samples) else samples


def _amplitude(db: float) -> float:
    return 10 ** (db / 20)
