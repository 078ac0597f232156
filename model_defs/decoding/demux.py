"""One open media file, as a source of packets from any moment of a track."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.stream import Discard

from model_defs.decoding.budget import DecodeBudget
from model_defs.decoding.containers import (
    CONTAINERS,
    describe_audio,
    describe_video,
    encrypted,
    is_moving_picture,
    open_container,
)
from model_defs.decoding.reader import Reader
from model_defs.decoding.sampling import KeyframeTimes
from model_defs.decoding.tracks import Track, is_cover, readable_tracks
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from model_defs.notes import Note

WITHOUT_INDEX = frozenset({"mpegts", "flv", "asf"})  # or with one that libav fills as it reads
SEEK_MARGIN_S = 1.0


@dataclass
class DecodeCounts:
    """How much work a file has been so far: the measure of cost that does not depend on the machine."""

    packets: int = 0  # demuxed
    video_frames: int = 0  # decoded, kept or not
    audio_frames: int = 0
    damaged_frames: int = 0  # of the pictures; left out
    errors: int = 0  # packets that a decoder refused


@dataclass(frozen=True)
class TrackScan:
    """What reading a track's packets from end to end tells, without decoding."""

    start_s: float
    duration_s: float
    keyframes: KeyframeTimes


class MediaFile:
    """Opens a file, chooses its tracks, seeks and demuxes; counts, warns and keeps to the budget on the way.

    Attributes:
        videos, audios: the tracks of each kind that can be read, those marked as default first; or one with a refusal.
        video, audio: the first of each.
        start_s: where the file's clock begins; not always at 0.
    """

    def __init__(self, source: bytes | Path, limits: Limits, budget: DecodeBudget) -> None:
        """Raises DetectionError as `open_container` does."""
        self.limits = limits
        self.budget = budget
        self.counts = DecodeCounts()
        self.warnings: list[Note] = []
        self._reader = Reader(source, limits, budget)
        try:
            self._container = open_container(self._reader, limits)
        except DetectionError:
            self._reader.close()
            raise
        self._is_at_start = True
        self._n_pass_bytes = 0
        streams = self._container.streams
        films = [stream for stream in streams.video if is_moving_picture(stream) and not is_cover(stream)]
        self.videos = readable_tracks(films, lambda stream: describe_video(stream, limits))
        self.audios = readable_tracks(streams.audio, lambda stream: describe_audio(stream, limits))
        self.video, self.audio = self.videos[0], self.audios[0]
        tracks = [track for track in (self.video, self.audio) if track.stream is not None]
        for track in tracks:
            self.settle_start(track)
        self.start_s = min((track.start_s for track in tracks), default=0.0)

    @property
    def container_name(self) -> str:
        """One of the values of `CONTAINERS`."""
        return CONTAINERS[self._container.format.name]

    def close(self) -> None:
        self._container.close()
        self._reader.close()

    def warn(self, code: str, message: str) -> None:
        """Note something that the caller should know, once."""
        if (note := Note(code, message)) not in self.warnings:
            self.warnings.append(note)

    def settle_start(self, track: Track) -> None:
        """Make sure that a track's start is known, by its first packet where it is not declared."""
        start_s = self._first_packet_s(track) if track.start_s is None else track.start_s
        track.set_start(start_s, self.container_name)

    def span_s(self, track: Track) -> tuple[float, float]:
        """Start and duration of a track: as declared, else as its packets tell."""
        if track.duration_s is None:
            scan = self.scan(track)
            track.start_s, track.duration_s = scan.start_s, scan.duration_s
        return track.start_s, track.duration_s

    def rewind(self) -> None:
        """Go to the very start, by opening the file again if it has been read from: sure, whatever the container."""
        if self._is_at_start:
            return
        self._container.close()
        self._container = open_container(self._reader, self.limits)
        self._is_at_start = True
        self._n_pass_bytes = 0
        for track in (*self.videos, *self.audios):
            if track.stream is not None:
                track.stream = self._container.streams[track.index]

    def seek(self, track: Track, time_s: float) -> None:
        """Go to the last keyframe of a track at or before a time, or to the start where the container cannot seek.

        Sound in Matroska is reached by the index of its video, so the packets that come next may be earlier.
        """
        stream = track.stream
        if self.container_name == "matroska" and self.video.stream is not None:
            stream = self.video.stream
        if time_s < track.start_s + track.untimed_s and track.untimed_s:
            self.rewind()
            return
        if self.container_name in WITHOUT_INDEX:  # found by halving the file, which may end behind the keyframe
            time_s -= SEEK_MARGIN_S
            if time_s <= self.start_s:
                self.rewind()
                return
        self._is_at_start = False
        self._n_pass_bytes = 0
        try:
            self._container.seek(round(time_s / stream.time_base), stream=stream)
        except (av.FFmpegError, OverflowError):
            self.rewind()

    def packets(self, track: Track) -> Iterator[av.Packet]:
        """Packets of one track from here to its end; a read error ends it as well, with a warning.

        Raises:
            DetectionError: `decode_timeout`, `too_many_packets`, or `too_large` for packets that unpack to many times
                the file.
        """
        self._is_at_start = False
        for stream in self._container.streams:
            stream.discard = Discard.default if stream.index == track.index else Discard.all
        packets = self._container.demux(track.stream)
        while True:
            self.budget.check()
            try:
                packet = next(packets, None)
            except DetectionError:
                raise
            except (av.FFmpegError, ValueError, IndexError):  # IndexError: a track that shows up on the way
                self.warn("damaged", "the file is damaged: a part of it could not be read")
                packet = None
            if packet is None:
                return
            if packet.size:  # PyAV ends with an empty one, for decoders to flush
                if packet.has_sidedata("encryption_info"):
                    raise encrypted(f"the {track.stream.type} track of the file is encrypted (CENC); send it decrypted")
                self._count_packet(packet)
                yield packet

    def decode(self, track: Track, packet: av.Packet | None) -> list:
        """Frames that come out when a packet goes into the track's decoder (None: all that it holds back).

        A packet that cannot be decoded gives nothing, with a warning.

        Raises:
            DetectionError: `too_many_frames`.
        """
        try:
            frames = track.stream.codec_context.decode(packet)
        except (av.EOFError, av.BlockingIOError):
            return []
        except (av.FFmpegError, ValueError, MemoryError):
            self.counts.errors += 1
            self.warn("damaged", f"the file is damaged: a part of its {track.stream.type} track could not be decoded")
            return []
        if track.stream.type == "audio":
            self.counts.audio_frames += len(frames)
            return frames
        self.counts.video_frames += len(frames)
        if self.counts.video_frames > self.limits.max_frames:
            raise DetectionError(
                ErrorCode.TOO_MANY_FRAMES,
                f"more than {self.limits.max_frames} pictures must be decoded to sample the film, the limit "
                "(max_frames); more keyframes would help",
            )
        return frames

    def _count_packet(self, packet: av.Packet) -> None:
        self.counts.packets += 1
        self._n_pass_bytes += packet.size
        if self.counts.packets > self.limits.max_packets:
            raise DetectionError(
                ErrorCode.TOO_MANY_PACKETS,
                f"more than {self.limits.max_packets} packets must be read, the limit (max_packets)",
            )
        if self._n_pass_bytes > self.limits.max_expansion * self._reader.n_bytes:
            raise DetectionError(
                ErrorCode.TOO_LARGE,
                f"the {self._reader.n_bytes} bytes of the file unpack to {self._n_pass_bytes} and more; at most "
                f"{self.limits.max_expansion:g} times its size is allowed (max_expansion)",
            )

    def _first_packet_s(self, track: Track) -> float:
        self.rewind()
        time_base = track.stream.time_base
        for n_untimed, packet in enumerate(self.packets(track)):
            if packet.pts is not None:
                if track is self.video and track.info.fps:
                    track.untimed_s = n_untimed / track.info.fps
                return float(packet.pts * time_base) - track.untimed_s
        return 0.0

    def scan(self, track: Track) -> TrackScan:
        """Read the whole track without decoding it, to learn what its headers do not tell or tell wrongly."""
        self.rewind()
        time_base = track.stream.time_base
        start_s, end_s, keyframes_s = track.start_s if track.untimed_s else None, 0.0, []
        for packet in self.packets(track):
            ticks = packet.dts if packet.pts is None else packet.pts
            if ticks is None:
                continue
            time_s = float(ticks * time_base)
            start_s = time_s if start_s is None else min(start_s, time_s)
            end_s = max(end_s, time_s + float((packet.duration or 0) * time_base))
            if packet.is_keyframe:
                insort(keyframes_s, time_s)
        start_s = start_s or 0.0
        return TrackScan(start_s, max(0.0, end_s - start_s), KeyframeTimes(start_s, keyframes_s))
