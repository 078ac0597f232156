"""Mono samples of an audio track at one rate: the whole of it, or windows of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import av
import numpy as np

from model_defs.decoding.containers import check_audio_form
from model_defs.decoding.demux import MediaFile
from model_defs.decoding.sampling import window_starts
from model_defs.decoding.tracks import Track

# Decoding starts this early and drops what comes first: transform codecs need a few packets to settle (Opus 80 ms,
# RFC 7845 section 4.6; MP3's bit reservoir nine frames).
PREROLL_S = 0.25
DURATION_SLACK = 1.05  # a track may be so much longer than declared; some durations are guessed from the bit rate
TRUSTED_PART = 0.95  # one shorter than this part of what is declared is cut off
MAX_PADDING_S = 0.2  # what an encoder appends to fill its last frames: two of the longest, of HE-AAC at 22 kHz
N_SAFE_PLANES = 8  # PyAV 18 reads beyond the planes of a frame that has so many or more, and crashes
BLOCK_SAMPLES = 2**16  # frames are mixed down so many samples at a time: the calls would cost more than the arithmetic
MAX_FRAME_SAMPLES = 2**24  # in one decoded frame, all channels together; FLAC and ALAC may declare what they like
MAX_LEVEL = 1e6  # a sample beyond it is damage; full scale is 1

# What full scale is in each integer sample format, and what silence is.
_FULL_SCALE = {"u1": (128.0, 128.0), "i2": (2.0**15, 0.0), "i4": (2.0**31, 0.0)}


@dataclass(frozen=True)
class AudioSegment:
    """A part of a clip's sound.

    Attributes:
        start_s: from the start of the clip.
        samples: (N,) float32 mono, full scale 1.
    """

    start_s: float
    samples: np.ndarray


class AudioReader:
    """Reads an audio track of an open file."""

    def __init__(self, file: MediaFile, track: Track) -> None:
        self._file = file
        self._track = track

    def read(self, rate_hz: int, window_s: float, max_windows: int) -> list[AudioSegment]:
        """The whole track as one segment if it is at most `max_windows * window_s` long, else so many windows of it.

        Windows are spread evenly and reached by seeking; one that cannot be decoded is left out.

        Raises:
            DetectionError: `decode_timeout`.
        """
        start_s, duration_s = self._file.span_s(self._track)
        segments, is_complete = self._read_span(start_s, duration_s, rate_hz, window_s, max_windows)
        if not is_complete:
            scan = self._file.scan(self._track)
            if abs(scan.duration_s - duration_s) > window_s:
                self._file.warn(
                    "wrong_duration",
                    f"the audio track is {scan.duration_s:.1f} s long, not {duration_s:.1f} s as declared",
                )
                segments, _ = self._read_span(scan.start_s, scan.duration_s, rate_hz, window_s, max_windows)
        return segments

    def _read_span(
        self, start_s: float, duration_s: float, rate_hz: int, window_s: float, max_windows: int
    ) -> tuple[list[AudioSegment], bool]:
        """Segments of a track of this length, and whether the track bears that length out."""
        zero_s = self._file.start_s
        longest_s = max_windows * window_s
        if duration_s <= longest_s:
            n_most = int(longest_s * DURATION_SLACK * rate_hz)
            samples = self._samples(None, n_most, rate_hz)
            if len(samples) < TRUSTED_PART * duration_s * rate_hz:
                self._file.warn(
                    "shorter",
                    f"the audio track ends after {len(samples) / rate_hz:.1f} s of the declared {duration_s:.1f} s",
                )
            is_complete = len(samples) < n_most
            n_declared = round(duration_s * rate_hz)
            if self._track.ends_exactly and 0 < len(samples) - n_declared <= MAX_PADDING_S * rate_hz:
                samples = samples[:n_declared]  # libav cuts the encoder's delay, and not what it appends
            return [AudioSegment(start_s - zero_s, samples)] if len(samples) else [], is_complete
        n_samples = round(window_s * rate_hz)
        segments = []
        for window_start_s in window_starts(duration_s, window_s, max_windows):
            samples = self._samples(start_s + window_start_s, n_samples, rate_hz)
            if len(samples):
                segments.append(AudioSegment(start_s + window_start_s - zero_s, samples))
        return segments, len(segments) == max_windows

    def _samples(self, start_s: float | None, n_samples: int, rate_hz: int) -> np.ndarray:
        """At most `n_samples` from a time, or from the very start. shape = (N,) float32 mono"""
        if start_s is None:
            self._file.rewind()
        else:
            self._file.seek(self._track, start_s - PREROLL_S)
        time_base = float(self._track.stream.time_base)
        from_s = -math.inf if start_s is None else start_s - PREROLL_S
        form, n_early, n_wanted, rate_in_hz = None, 0, 0, 0
        parts, waiting = [], []  # of one channel, and of all: a bomb of many channels would fill the memory
        n_taken = n_waiting = 0
        for frame in self._decode(from_s, time_base):
            if form is None:
                form, rate_in_hz = _form(frame), frame.sample_rate
                check_audio_form(rate_in_hz, frame.layout.nb_channels, self._file.limits)
                if start_s is not None and frame.pts is not None:
                    n_early = max(0, round((start_s - frame.pts * time_base) * rate_in_hz))
                n_wanted = n_early + math.ceil((n_samples / rate_hz + PREROLL_S) * rate_in_hz)
            elif _form(frame) != form:
                self._file.warn("shorter", "the audio track changes its form: what follows was not read")
                break
            waiting.append(frame)  # gaps are closed
            n_waiting += frame.samples * form[1]
            n_taken += frame.samples
            if n_waiting >= BLOCK_SAMPLES:
                parts.append(_to_mono(waiting))
                waiting, n_waiting = [], 0
            if n_taken >= n_wanted:
                break
        if waiting:
            parts.append(_to_mono(waiting))
        if not parts:
            return np.zeros(0, np.float32)
        mono = self._repair(np.concatenate(parts)[n_early:n_wanted])
        return _resample(mono, rate_in_hz, rate_hz)[:n_samples]

    def _decode(self, from_s: float, time_base: float) -> Iterator[av.AudioFrame]:
        """Decoded frames of the packets that reach beyond a time."""
        track = self._track
        context = track.stream.codec_context
        if not context.is_open:
            context.options = {"max_samples": str(MAX_FRAME_SAMPLES)}
        for packet in chain(self._file.packets(track), [None]):
            is_timed = packet is not None and packet.pts is not None
            if is_timed and (packet.pts + (packet.duration or 0)) * time_base < from_s:
                continue
            for frame in self._file.decode(track, packet):
                if frame.is_corrupt:
                    self._file.warn("damaged", "the file is damaged: a part of its audio track was left out")
                else:
                    yield frame

    def _repair(self, samples: np.ndarray) -> np.ndarray:
        """Silence in place of what is not a number, or far from any level that sound can have."""
        is_sound = np.abs(samples) < MAX_LEVEL  # false for NaN
        if is_sound.all():
            return samples
        self._file.warn("damaged", f"{np.count_nonzero(~is_sound)} audio samples were not finite and were set to 0")
        return np.where(is_sound, samples, np.float32(0))


def _form(frame: av.AudioFrame) -> tuple[str, int, int]:
    """What all frames of one piece of sound have in common."""
    return frame.format.name, frame.layout.nb_channels, frame.sample_rate


def _to_mono(frames: Sequence[av.AudioFrame]) -> np.ndarray:
    """The mean of all channels of frames of one form, end to end. shape = (n_samples,) float32, full scale 1"""
    first = frames[0]
    n_channels, is_planar = first.layout.nb_channels, first.format.is_planar
    if is_planar and n_channels >= N_SAFE_PLANES:
        mixed = (part for frame in frames for part in av.AudioResampler("flt", "mono").resample(frame))
        return np.concatenate([part.to_ndarray()[0] for part in mixed])
    dtype, n_together = first.to_ndarray().dtype, 1 if is_planar else n_channels
    # Not `to_ndarray` of each: a second of sound is 43 frames of AAC. Planes may be longer than what they hold.
    planes = [[np.frombuffer(plane, dtype, frame.samples * n_together) for plane in frame.planes] for frame in frames]
    values = np.stack([np.concatenate(parts) for parts in zip(*planes, strict=True)])
    channels = values if is_planar else values.reshape(-1, n_channels).T
    full_scale, silence = _FULL_SCALE.get(dtype.str[1:], (1.0, 0.0))
    with np.errstate(invalid="ignore", over="ignore"):  # damaged samples are repaired later
        return (channels.mean(axis=0, dtype=np.float32) - np.float32(silence)) / np.float32(full_scale)


def _resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    if from_hz == to_hz:
        return samples
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = from_hz, 0, Fraction(1, from_hz)
    resampler = av.AudioResampler("flt", "mono", to_hz)
    parts = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
