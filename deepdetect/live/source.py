"""A stream as whole seconds of pictures and sound, decoded once, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from model_defs.decoding.picture import PictureConverter
from model_defs.decoding.video import Frame

READ_TIMEOUT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0  # between attempts to reconnect, doubled each time


class SourceError(ValueError):
    """A source that cannot be opened, or that holds neither picture nor sound; the message names it and why."""


@dataclass(frozen=True)
class SourceConfig:
    """How a stream is read.

    Attributes:
        frames_a_second: pictures kept of each second, evenly.
        rate_hz: of the sound.
        backlog_s: whole seconds that wait to be scored; beyond that the oldest is dropped, and counted. A file is read
            no faster than it is scored, and loses none.
        give_up_s: how long a source may be away.
        format: libav's name of the input, such as v4l2, alsa, x11grab, avfoundation, dshow; None finds it.
        options: of libav for that input, such as {"video_size": "1280x720"}.
        follow: a file that is still being written: at its end wait for more.
    """

    frames_a_second: int = 3
    rate_hz: int = 16_000
    backlog_s: int = 3
    give_up_s: float = 60.0
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    follow: bool = False

    def __post_init__(self) -> None:
        for name in ("frames_a_second", "rate_hz", "backlog_s", "give_up_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


@dataclass
class Second:
    """One second of a stream.

    Attributes:
        index: counted from the first that was received, over reconnections.
        frames: pictures, upright RGB, in rising time.
        sound: (N,) float32 mono at `SourceConfig.rate_hz`; empty where there is none.
        received_s: `time.monotonic` when it was whole.
        n_dropped: seconds before it that nobody had time for.
        n_reconnections: of the source so far.
    """

    index: int
    frames: list[Frame] = field(default_factory=list)
    sound: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    received_s: float = 0.0
    n_dropped: int = 0
    n_reconnections: int = 0


class LiveSource:
    """Reads a source in the background; `seconds` gives what there is, as it comes.

    Args:
        url: a path, `-` for standard input, or what libav opens: rtsp, rtmp, srt, udp, tcp, http(s) (HLS), a device.
    """

    def __init__(self, url: str, config: SourceConfig = SourceConfig()) -> None:
        self.url = "pipe:0" if url == "-" else url
        self.config = config
        self.is_file = Path(url).is_file() and config.format is None
        self._waiting: deque[Second] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: Exception | None = None
        self._n_dropped = 0
        self._n_reconnections = 0
        self._next_index = 0
        self._thread = threading.Thread(target=self._read, name="live source", daemon=True)

    def seconds(self) -> Iterator[Second]:
        """Every second until the source ends, or stays away for `give_up_s`; raises SourceError."""
        self._thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                second = self._waiting.popleft()
                second.n_dropped, self._n_dropped = self._n_dropped, 0
                self._changed.notify_all()
            yield second
        if self._error is not None:
            raise SourceError(f"{self.url}: {self._error}") from self._error

    def _read(self) -> None:
        try:
            self._read_all()
        except (OSError, ValueError) as error:  # av.FFmpegError is both, by kind
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_all(self) -> None:
        pause_s, last_seen_s, is_first = FIRST_PAUSE_S, time.monotonic(), True
        while True:
            before = self._next_index
            try:
                self._read_once()
            except (OSError, ValueError):
                if is_first and not self.config.follow:
                    raise  # what never was there is a mistake in the command
            is_first = False
            if self._next_index > before:
                pause_s, last_seen_s = FIRST_PAUSE_S, time.monotonic()
            if self._is_over() or time.monotonic() - last_seen_s > self.config.give_up_s:
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self._n_reconnections += not self.config.follow

    def _is_over(self) -> bool:
        return self.url == "pipe:0" or (self.is_file and not self.config.follow)

    def _read_once(self) -> None:
        timeout = None if self.url == "pipe:0" else (READ_TIMEOUT_S, READ_TIMEOUT_S)
        options = dict(self.config.options)
        with av.open(self.url, format=self.config.format, options=options, timeout=timeout) as container:
            streams = [*container.streams.video[:1], *container.streams.audio[:1]]
            if not streams:
                raise SourceError("neither picture nor sound is in it")
            skip_s = float(self._next_index) if self.config.follow else 0.0
            cutter = _Cutter(self.config, len(streams), skip_s)
            resampler = av.AudioResampler("flt", "mono", self.config.rate_hz)
            pictures = PictureConverter()
            aspect = container.streams.video[0].sample_aspect_ratio if container.streams.video else None
            try:
                for packet in container.demux(streams):
                    for decoded in _decoded(packet):
                        if decoded.pts is None or decoded.time_base is None:
                            continue
                        time_s = float(decoded.pts * decoded.time_base)
                        if isinstance(decoded, av.AudioFrame):
                            sounds = [part.to_ndarray()[0] for part in resampler.resample(decoded)]
                            cutter.add_sound(time_s, np.concatenate([*sounds, np.zeros(0, np.float32)]))
                        elif cutter.wants(time_s):
                            cutter.add_frame(time_s, pictures.convert(decoded, aspect)[0])
                        for second in cutter.finished():
                            self._put(second)
            finally:  # also where the connection broke
                if not self.config.follow:
                    for second in cutter.rest():
                        self._put(second)

    def _put(self, second: Second) -> None:
        second.index, self._next_index = self._next_index, self._next_index + 1
        second.received_s, second.n_reconnections = time.monotonic(), self._n_reconnections
        with self._changed:
            if self.is_file:
                self._changed.wait_for(lambda: len(self._waiting) < self.config.backlog_s)
            elif len(self._waiting) >= self.config.backlog_s:
                self._waiting.popleft()
                self._n_dropped += 1
            self._waiting.append(second)
            self._changed.notify_all()


class _Cutter:
    """Sorts what is decoded into whole seconds, from the first time that is met on."""

    def __init__(self, config: SourceConfig, n_streams: int, skip_s: float) -> None:
        self.config = config
        self.n_streams = n_streams
        self.skip_s = skip_s  # of a file that is read again from its start
        self.start_s: float | None = None
        self.newest_s: dict[str, float] = {}
        self.open: dict[int, Second] = {}
        self.parts: dict[int, list[np.ndarray]] = {}
        self.next = 0
        self.due_s = 0.0

    def wants(self, time_s: float) -> bool:
        """Whether the picture of this time is kept."""
        since_s = self._since(time_s)
        self.newest_s["video"] = since_s
        if since_s < max(self.due_s, self.skip_s) - 1e-6:
            return False
        self.due_s = (int(since_s * self.config.frames_a_second + 1e-6) + 1) / self.config.frames_a_second
        return True

    def add_frame(self, time_s: float, image: np.ndarray) -> None:
        """A picture (H, W, 3) that `wants` asked for."""
        since_s = self._since(time_s)
        self._second(since_s).frames.append(Frame(since_s, image))

    def add_sound(self, time_s: float, samples: np.ndarray) -> None:
        """Sound (N,) from this time on."""
        since_s = self._since(time_s)
        self.newest_s["audio"] = since_s
        while len(samples):
            index = int(since_s + 1e-6)
            n_fit = max(1, round((index + 1 - since_s) * self.config.rate_hz))
            if since_s >= self.skip_s - 1e-6:
                self._second(since_s)
                self.parts.setdefault(index, []).append(samples[:n_fit])
            samples, since_s = samples[n_fit:], since_s + n_fit / self.config.rate_hz

    def finished(self) -> Iterator[Second]:
        """Seconds that every stream is past, or one stream by two seconds."""
        if not self.newest_s:
            return
        past_s = min(self.newest_s.values()) if len(self.newest_s) == self.n_streams else 0.0
        yield from self._until(max(past_s, max(self.newest_s.values()) - 2.0))

    def rest(self) -> Iterator[Second]:
        """What is left when the stream has ended, if it is at least half a second."""
        newest_s = max(self.newest_s.values(), default=0.0)
        yield from self._until(newest_s + 0.5)

    def _until(self, time_s: float) -> Iterator[Second]:
        for index in sorted(index for index in self.open if index + 1 <= time_s):
            second = self.open.pop(index)
            parts = self.parts.pop(index, [])
            second.sound = np.concatenate(parts) if parts else second.sound
            yield second

    def _second(self, since_s: float) -> Second:
        return self.open.setdefault(int(since_s + 1e-6), Second(0))

    def _since(self, time_s: float) -> float:
        if self.start_s is None:
            self.start_s = time_s
        return max(0.0, time_s - self.start_s)


def _decoded(packet: av.Packet[Any]) -> list[Any]:
    """The frames of a packet; none of one that is damaged, as the first ones of a stream joined midway may be."""
    try:
        return list(packet.decode())
    except av.error.InvalidDataError:
        return []
