"""Samples of an audio track at one rate, voice by voice: the whole of it, or windows of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import av
import numpy as np

from model_defs.decoding.containers import check_audio_form
from model_defs.decoding.demux import MediaFile
from model_defs.decoding.sampling import window_starts
from model_defs.decoding.tracks import Track
from model_defs.decoding.voices import find_voices

# Decoding starts this early and drops what comes first: transform codecs need a few packets to settle (Opus 80 ms,
# RFC 7845 section 4.6; MP3's bit reservoir nine frames).
PREROLL_S = 0.25
DURATION_SLACK = 1.05  # a track may be so much longer than declared; some durations are guessed from the bit rate
TRUSTED_PART = 0.95  # one shorter than this part of what is declared is cut off
MAX_PADDING_S = 0.2  # what an encoder appends to fill its last frames: two of the longest, of HE-AAC at 22 kHz
N_SAFE_PLANES = 8  # PyAV 18 reads beyond the planes of a frame that has so many or more, and crashes
BLOCK_SAMPLES = 2**16  # frames are mixed down so many samples at a time: the calls would cost more than the arithmetic
MAX_CHANNELS_HZ = 400_000  # channels times rate from which they are mixed: 5.1 at 48 kHz is 288,000
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


@dataclass(frozen=True)
class Voice:
    """What is judged by itself: channels of a track that are one sound.

    Attributes:
        track: its place among the file's audio tracks.
        channels: their names, such as `FL+FR`; `mono` for one channel alone, `mix` where channels are not told apart.
        is_turned: some of the channels were of opposite phase, and were turned before they were mixed.
        segments: as `AudioReader.read` says.
    """

    track: int
    channels: str
    is_turned: bool
    segments: list[AudioSegment]


@dataclass(frozen=True)
class _Stretch:
    """Decoded samples at the track's own rate, (C, N) float32."""

    start_s: float
    samples: np.ndarray
    rate_hz: int
    names: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        return self.samples.shape[1] / self.rate_hz if self.rate_hz else 0.0


class AudioReader:
    """Reads an audio track of an open file."""

    def __init__(self, file: MediaFile, track: Track, place: int = 0) -> None:
        self._file = file
        self._track = track
        self._place = place

    def read(self, rate_hz: int, window_s: float, max_windows: int) -> list[Voice]:
        """Its voices, the loudest first; none where nothing can be decoded.

        Each has the whole track as one segment if it is at most `max_windows * window_s` long, else so many windows of
        it. Windows are spread evenly and reached by seeking; one that cannot be decoded is left out.

        Raises:
            DetectionError: `decode_timeout`.
        """
        start_s, duration_s = self._file.span_s(self._track)
        stretches, is_complete = self._read_span(start_s, duration_s, window_s, max_windows)
        if not is_complete:
            scan = self._file.scan(self._track)
            if abs(scan.duration_s - duration_s) > window_s:
                message = f"the audio track is {scan.duration_s:.1f} s long, not {duration_s:.1f} s as declared"
                self._file.warn("shorter", message)
                start_s, duration_s = scan.start_s, scan.duration_s
                stretches, _ = self._read_span(start_s, duration_s, window_s, max_windows)
        # All have one form but where a track changes it, and then the first stretch's counts.
        stretches = [one for one in stretches if len(one.samples) == len(stretches[0].samples)]
        if not stretches:
            return []
        is_windowed = duration_s > max_windows * window_s
        n_most = round(window_s * rate_hz) if is_windowed else int(max_windows * window_s * DURATION_SLACK * rate_hz)
        voices = []
        for mix in find_voices([one.samples for one in stretches], stretches[0].rate_hz):
            segments = [
                AudioSegment(one.start_s, _resample(mix.apply(one.samples), one.rate_hz, rate_hz)[:n_most])
                for one in stretches
            ]
            names = "+".join(stretches[0].names[index] for index in mix.channels)
            voices.append(Voice(self._place, names, -1 in mix.signs, segments))
        return voices

    def _read_span(
        self, start_s: float, duration_s: float, window_s: float, max_windows: int
    ) -> tuple[list[_Stretch], bool]:
        """Stretches of a track of this length, and whether the track bears that length out."""
        longest_s = max_windows * window_s
        if duration_s <= longest_s:
            most_s = longest_s * DURATION_SLACK
            whole = self._stretch(None, most_s, start_s)
            if whole.duration_s < TRUSTED_PART * duration_s:
                message = f"the audio track ends after {whole.duration_s:.1f} s of the declared {duration_s:.1f} s"
                self._file.warn("shorter", message)
            is_complete = whole.duration_s < most_s
            if self._track.ends_exactly and 0 < whole.duration_s - duration_s <= MAX_PADDING_S:
                # libav cuts the encoder's delay, and not what it appends.
                whole = replace(whole, samples=whole.samples[:, : round(duration_s * whole.rate_hz)])
            return [whole] if whole.duration_s else [], is_complete
        starts_s = (start_s + offset_s for offset_s in window_starts(duration_s, window_s, max_windows))
        stretches = [self._stretch(window_start_s, window_s, window_start_s) for window_start_s in starts_s]
        stretches = [one for one in stretches if one.duration_s]
        return stretches, len(stretches) == max_windows

    def _stretch(self, from_s: float | None, length_s: float, start_s: float) -> _Stretch:
        """At most `length_s` from a time, or from the very start; empty where nothing can be decoded.

        Args:
            start_s: what is told as its start, on the track's clock.
        """
        if from_s is None:
            self._file.rewind()
        else:
            self._file.seek(self._track, from_s - PREROLL_S)
        time_base = float(self._track.stream.time_base)
        form, n_early, n_wanted, rate_hz, names = None, 0, 0, 0, ("mono",)
        parts, waiting = [], []  # of the channels that are kept, and of all: many would fill the memory
        n_taken = n_waiting = 0
        for frame in self._decode(-math.inf if from_s is None else from_s - PREROLL_S, time_base):
            if form is None:
                form, rate_hz = _form(frame), frame.sample_rate
                check_audio_form(rate_hz, frame.layout.nb_channels, self._file.limits)
                names = _channel_names(frame)
                if from_s is not None and frame.pts is not None:
                    n_early = max(0, round((from_s - frame.pts * time_base) * rate_hz))
                n_wanted = n_early + math.ceil((length_s + PREROLL_S) * rate_hz)
            elif _form(frame) != form:
                self._file.warn("shorter", "the audio track changes its form: what follows was not read")
                break
            waiting.append(frame)  # gaps are closed
            n_waiting += frame.samples * form[1]
            n_taken += frame.samples
            if n_waiting >= BLOCK_SAMPLES:
                parts.append(_to_channels(waiting, len(names)))
                waiting, n_waiting = [], 0
            if n_taken >= n_wanted:
                break
        if waiting:
            parts.append(_to_channels(waiting, len(names)))
        if not parts:
            return _Stretch(start_s - self._file.start_s, np.zeros((1, 0), np.float32), rate_hz, names)
        samples = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        samples = self._repair(samples[:, n_early:n_wanted])
        return _Stretch(start_s - self._file.start_s, samples, rate_hz, names)

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


def _channel_names(frame: av.AudioFrame) -> tuple[str, ...]:
    """Of the channels that are told apart: `mono` for one alone, `mix` where there are more than can be kept."""
    n_channels = frame.layout.nb_channels
    if n_channels == 1:
        return ("mono",)
    if n_channels >= N_SAFE_PLANES or n_channels * frame.sample_rate > MAX_CHANNELS_HZ:
        return ("mix",)
    names = [channel.name for channel in frame.layout.channels]
    if len(set(names)) == n_channels:
        return tuple(names)
    return ("FL", "FR") if n_channels == 2 else tuple(f"channel {index + 1}" for index in range(n_channels))  # of wav


def _to_channels(frames: Sequence[av.AudioFrame], n_kept: int) -> np.ndarray:
    """Frames of one form, end to end. shape = (n_kept, n_samples) float32, full scale 1

    Args:
        n_kept: all their channels, or 1 for the mean of them.
    """
    first = frames[0]
    n_channels, is_planar = first.layout.nb_channels, first.format.is_planar
    if is_planar and n_channels >= N_SAFE_PLANES:
        mixed = (part for frame in frames for part in av.AudioResampler("flt", "mono").resample(frame))
        return np.concatenate([part.to_ndarray()[0] for part in mixed])[np.newaxis]
    dtype, n_together = first.to_ndarray().dtype, 1 if is_planar else n_channels
    # Not `to_ndarray` of each: a second of sound is 43 frames of AAC. Planes may be longer than what they hold.
    planes = [[np.frombuffer(plane, dtype, frame.samples * n_together) for plane in frame.planes] for frame in frames]
    values = np.stack([np.concatenate(parts) for parts in zip(*planes, strict=True)])
    channels = values if is_planar else values.reshape(-1, n_channels).T
    full_scale, silence = _FULL_SCALE.get(dtype.str[1:], (1.0, 0.0))
    with np.errstate(invalid="ignore", over="ignore"):  # damaged samples are repaired later
        if n_kept != n_channels:
            channels = channels.mean(axis=0, dtype=np.float32, keepdims=True)
        channels = channels.astype(np.float32, copy=False)
        return channels if full_scale == 1 else (channels - np.float32(silence)) / np.float32(full_scale)


def _resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    if from_hz == to_hz:
        return samples
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = from_hz, 0, Fraction(1, from_hz)
    resampler = av.AudioResampler("flt", "mono", to_hz)
    parts = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
