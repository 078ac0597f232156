"""Frames of a video track at planned times, for the price of as few decoded frames as that takes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import av
import numpy as np

from model_defs.decoding.containers import check_pixels
from model_defs.decoding.demux import WITHOUT_INDEX, MediaFile
from model_defs.decoding.picture import PictureConverter
from model_defs.decoding.sampling import Keyframes, SamplePlan, Step, plan_steps
from model_defs.decoding.tracks import Track

# libav refuses before it allocates, but counts the padding of its buffers; the exact limit is held to afterwards.
MAX_PIXELS_SLACK = 2

EDGE_S = 1e-3  # times are rounded on their way

# Frames that no other frame needs are skipped while this many or more lie between two sampled ones. The nearest frame
# left is then at most a few frames off, well inside its part of the clip.
SKIP_FROM_N_FRAMES = 8


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        time_s: when it is due, from the start of the clip.
        image: (H, W, 3) uint8 RGB, upright, of square pixels, its long side at most `picture.MAX_SIDE_PX`.
    """

    time_s: float
    image: np.ndarray


class VideoReader:
    """Reads the video track of an open file."""

    def __init__(self, file: MediaFile, n_threads: int) -> None:
        self._file = file
        self._n_threads = n_threads
        self._pictures = PictureConverter()

    def read(
        self,
        plan: SamplePlan,
        keyframes: Keyframes | None = None,
        on_frame: Callable[[int, Frame], None] | None = None,
    ) -> list[Frame]:
        """The frames nearest to the planned times, rising, each once; `on_frame` is told of each, and its place.

        Fewer come back where several times share a nearest frame, or where the track is damaged or too short.

        Raises:
            DetectionError: `too_many_pixels`, `decode_timeout`.
        """
        keyframes = keyframes or self._container_index(plan)
        fps = self._file.video.info.fps or 0.0
        self._skip_frame = "NONREF" if plan.spacing_s * fps >= SKIP_FROM_N_FRAMES else "DEFAULT"
        frames: list[Frame] = []
        for step in plan_steps(plan, keyframes):
            for frame in self._take(step, plan.spacing_s):
                if not frames or frame.time_s > frames[-1].time_s:
                    frames.append(frame)
                    if on_frame is not None:
                        on_frame(len(frames) - 1, frame)
        return frames

    def _container_index(self, plan: SamplePlan) -> Keyframes:
        """The container's own list of keyframes, or one made by reading the packets."""
        track = self._file.video
        if self._file.container_name == "matroska" and not track.untimed_s:
            self._file.seek(track, plan.times_s[-1])  # only a seek makes libav read Matroska's index
        is_listed = self._file.container_name not in WITHOUT_INDEX and not track.untimed_s
        if not is_listed or not len(track.stream.index_entries):
            return self._file.scan(track).keyframes
        return _ContainerIndex(track)

    def _take(self, step: Step, spacing_s: float) -> list[Frame]:
        """The frames of one step."""
        if step.is_single:
            for time_s, image in self._decode(step.keyframe_s, until_s=-math.inf):
                return [self._convert(time_s, image)]
        frames = self._run(step)
        if self._skip_frame == "NONREF" and any(
            abs(frame.time_s + self._file.start_s - target_s) > spacing_s / 4
            for frame, target_s in zip(frames, step.targets_s, strict=False)
        ):
            self._skip_frame = "DEFAULT"  # frames are sparse here, so each one counts
            frames = self._run(step)
        return frames

    def _run(self, step: Step) -> list[Frame]:
        """The frames nearest to the targets, decoding forward from the keyframe."""
        targets_s = [max(step.keyframe_s, target_s) for target_s in step.targets_s]
        decoded = self._decode(step.keyframe_s, math.inf if step.is_single else targets_s[-1])
        return [self._convert(time_s, image) for time_s, image in _nearest(decoded, targets_s)]

    def _decode(self, keyframe_s: float, until_s: float) -> Iterator[tuple[float, av.VideoFrame]]:
        """Decoded frames with their times, from a keyframe until every packet that is due by `until_s` has gone in.

        Args:
            until_s: -inf for the first packet alone, inf for all to the end of the track.
        """
        track = self._file.video
        self._file.seek(track, keyframe_s)
        self._prepare_decoder()
        self._n_untimed = 0
        time_base = track.stream.time_base
        self._is_damaged = False
        is_early = self._file.container_name in WITHOUT_INDEX
        for packet in self._file.packets(track):
            if is_early and packet.pts is not None and float(packet.pts * track.stream.time_base) < keyframe_s - EDGE_S:
                continue
            is_early = False
            n_errors = self._file.counts.errors
            images = self._file.decode(track, packet)
            if packet.is_corrupt or self._file.counts.errors > n_errors:
                self._is_damaged = True
            yield from self._timed(self._undamaged(images))
            is_due = packet.dts is not None and float(packet.dts * time_base) >= until_s
            if is_due or until_s == -math.inf:
                break
        held_back = self._file.decode(track, None)  # without feeding it more
        yield from self._timed(self._undamaged(held_back))

    def _undamaged(self, images: list[av.VideoFrame]) -> list[av.VideoFrame]:
        """Those that show no damage: what a decoder conceals it tells of that picture, not of those built upon it."""
        whole = []
        for image in images:
            self._is_damaged = image.is_corrupt or (self._is_damaged and not image.key_frame)
            self._file.counts.damaged_frames += self._is_damaged
            if not self._is_damaged:
                whole.append(image)
        return whole

    def _timed(self, images: list[av.VideoFrame]) -> Iterator[tuple[float, av.VideoFrame]]:
        track = self._file.video
        time_base = track.stream.time_base
        for image in images:
            check_pixels(image.width, image.height, self._file.limits)
            ticks = image.dts if image.pts is None else image.pts
            if ticks is not None:
                yield float(ticks * time_base), image
            elif track.untimed_s:
                yield track.start_s + self._n_untimed / track.info.fps, image
                self._n_untimed += 1

    def _prepare_decoder(self) -> None:
        context = self._file.video.stream.codec_context
        context.skip_frame = self._skip_frame
        if not context.is_open:
            context.thread_type, context.thread_count = "AUTO", self._n_threads
            context.options = {"max_pixels": str(MAX_PIXELS_SLACK * self._file.limits.max_pixels)}

    def _convert(self, time_s: float, image: av.VideoFrame) -> Frame:
        track = self._file.video
        picture, orientation = self._pictures.convert(image, track.stream.sample_aspect_ratio)
        if track.info.orientation != orientation:
            track.info = replace(track.info, orientation=orientation)
        return Frame(time_s - self._file.start_s, picture)


def _nearest(
    decoded: Iterable[tuple[float, av.VideoFrame]], targets_s: list[float]
) -> Iterator[tuple[float, av.VideoFrame]]:
    """For each target the frame nearest to it; once the frames end, the last one for the next target alone."""
    pending = deque(targets_s)
    previous: tuple[float, av.VideoFrame] | None = None
    for current in decoded:
        while pending and current[0] >= pending[0]:
            target_s = pending.popleft()
            is_previous_nearer = previous is not None and target_s - previous[0] < current[0] - target_s
            yield previous if is_previous_nearer else current
        if not pending:
            return
        previous = current
    if previous is not None:
        yield previous


class _ContainerIndex:
    """The keyframes that libav knows of from the container's headers, looked up one at a time."""

    def __init__(self, track: Track) -> None:
        self._entries = track.stream.index_entries
        self._time_base = track.stream.time_base
        first_s = float(self._entries[0].timestamp * self._time_base)
        self._start_s = first_s if track.start_s is None else track.start_s
        # mp4 lists decoding times, which run ahead of display by the depth of reordering.
        self._ahead_ticks = round((self._start_s - first_s) / self._time_base)

    def before(self, time_s: float) -> float:
        found_s = self._search(time_s, backward=True)
        return self._start_s if found_s is None else found_s

    def after(self, time_s: float) -> float | None:
        return self._search(time_s, backward=False)

    def _search(self, time_s: float, backward: bool) -> float | None:
        ticks = round(time_s / self._time_base) - self._ahead_ticks
        index = self._entries.search_timestamp(ticks, backward=backward)
        return None if index < 0 else float((self._entries[index].timestamp + self._ahead_ticks) * self._time_base)
