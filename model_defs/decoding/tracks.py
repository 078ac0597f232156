"""Which streams of a file are read, in which order, and how long each says it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import av
from av.stream import Disposition, Stream

from model_defs.decoding.containers import CONTAINERS, AudioTrack, VideoTrack
from model_defs.errors import DetectionError

# A clock that starts this far from 0 counts from elsewhere (a broadcast, a camera's start); Matroska and Ogg then
# declare where a file ends and not how long it is.
ABSOLUTE_CLOCK_S = 0.5
STILL_AFTER_S = 2.0  # a stream of one picture beside longer sound is its cover, flagged as such or not

# iTunes' note of an encoder's delay and padding, in hexadecimal: 0, delay, padding, samples in between, ...
_ITUNES_GAPLESS = re.compile(r"\s*[0-9A-Fa-f]+\s+([0-9A-Fa-f]+)\s+([0-9A-Fa-f]+)\s+([0-9A-Fa-f]+)")


@dataclass
class Track:
    """A stream that is read, or the reason why there is none of its kind.

    Attributes:
        index: its place among the file's streams.
        stream: libav's stream; a new one each time the file is opened again.
        info: its declaration.
        is_default: the container marks it as the one to play; where it marks none, no track is.
        start_s, duration_s: as declared when the file was opened, for libav changes its mind as it reads.
        ends_exactly: the declared duration leaves out what an encoder appended, by an edit list or iTunes' own note.
        untimed_s: how much of it lies before the clock's zero: Matroska may store such times, libav gives none there.
        refusal: why the file's stream of this kind is not read.
    """

    index: int = -1
    stream: av.VideoStream | av.AudioStream | None = None
    info: VideoTrack | AudioTrack | None = None
    is_default: bool = False
    start_s: float | None = None
    duration_s: float | None = None
    ends_exactly: bool = False
    untimed_s: float = 0.0
    refusal: DetectionError | None = None

    def set_start(self, start_s: float, container: str) -> None:
        """Note when the track starts; what was declared as its length is forgotten where it is none."""
        self.start_s = start_s
        if container in ("matroska", "ogg") and abs(start_s) > ABSOLUTE_CLOCK_S:
            self.duration_s = None


def readable_tracks(streams: Iterable[Stream], describe: Callable[[Stream], VideoTrack | AudioTrack]) -> list[Track]:
    """The streams that can be read, those marked as default first; else one entry with the first one's refusal."""
    found, refused = [], Track()
    for stream in streams:
        try:
            is_default = bool(stream.disposition & Disposition.default)
            found.append(Track(stream.index, stream, describe(stream), is_default, *_declared_span_s(stream)))
        except DetectionError as refusal:
            refused.refusal = refused.refusal or refusal
    return sorted(found, key=lambda track: not track.is_default) or [refused]


def is_cover(stream: av.VideoStream) -> bool:
    """Whether a video stream without such a flag is one picture beside seconds of sound."""
    sound_s = max((_declared_span_s(sound)[1] or 0.0 for sound in stream.container.streams.audio), default=0.0)
    if stream.frames > 1 or sound_s <= STILL_AFTER_S:
        return False
    if stream.frames == 1:
        return True
    # Matroska does not count; a JPEG that is shown as long as the sound lasts is one.
    return stream.codec_context is not None and stream.codec_context.name == "mjpeg" and not stream.average_rate


def _declared_span_s(stream: Stream) -> tuple[float | None, float | None, bool]:
    """Start and duration of a stream, or its file's duration, None for what is not declared; `Track.ends_exactly`."""
    container = CONTAINERS[stream.container.format.name]
    start_s = None if stream.start_time is None else float(stream.start_time * stream.time_base)
    if container == "aac":  # libav guesses from the bit rate of the first frames
        return start_s, None, False
    gapless = _ITUNES_GAPLESS.match(stream.container.metadata.get("iTunSMPB", "")) if stream.type == "audio" else None
    if gapless and stream.rate and int(gapless[3], 16):
        return start_s, int(gapless[3], 16) / stream.rate, True
    if (stream.duration or 0) > 0:
        return start_s, float(stream.duration * stream.time_base), container == "mp4"
    file_ticks = stream.container.duration or 0
    return start_s, file_ticks / av.time_base if file_ticks > 0 else None, False
