"""One media file, opened once for both of its tracks: the way in for every clip, in training as in serving.

    bytes or path ──> Media ──> frames():         (H, W, 3) uint8 RGB, upright, spread over the clip
                          └───> audio_segments(): (N,) float32 mono at the rate asked for

What each part does: `containers` lets in or refuses, `demux` reads and seeks, `sampling` plans, `video` and
`audio` decode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from model_defs.decoding.audio import AudioReader, AudioSegment, Voice
from model_defs.decoding.budget import DecodeBudget
from model_defs.decoding.containers import AudioTrack, VideoTrack, check_size
from model_defs.decoding.demux import DecodeCounts, MediaFile
from model_defs.decoding.sampling import SamplePlan, frame_plan
from model_defs.decoding.tracks import Track
from model_defs.decoding.video import Frame, VideoReader
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from model_defs.notes import Note

__all__ = ["AudioSegment", "AudioTrack", "Frame", "Media", "VideoTrack", "Voice"]

# A track that bears out this part of its declared length is not planned anew.
TRUSTED_PART = 0.95

MAX_SCORED_TRACKS = 3  # of sound; each costs its decoding and a forward pass
MIN_WHOLE_SHARE = 0.5  # of the sampled pictures of a damaged film; fewer tell too little of it

# One thread each: a server decodes several files at once, and runs of one or a few frames gain nothing from more.
CODEC_THREADS = 1


class Media:
    """A context manager over one file. Different ones may be used in different threads; one must not be shared.

    Attributes:
        container: name of the container, such as `mp4`.
        duration_s: as declared, else as the packets tell.
    """

    def __init__(self, source: bytes | Path, limits: Limits = Limits(), codec_threads: int = CODEC_THREADS) -> None:
        """Open a file and read its headers.

        Raises:
            DetectionError: `empty_body`, `too_large`, `unknown_container`, `undecodable_media`, `too_many_tracks`,
                `too_many_pixels`, `too_long`, `decode_timeout`, or `unreadable_file` for a path that is no file.
        """
        check_size(source, limits)
        self._budget = DecodeBudget(limits.decode_budget_s)
        with self._decoding():
            self._file = MediaFile(source, limits, self._budget)
            try:
                self._read_headers(limits)
            except BaseException:
                self._file.close()
                raise
        self._video_reader = VideoReader(self._file, codec_threads)

    def _read_headers(self, limits: Limits) -> None:
        file = self._file
        for track in (file.video, file.audio):
            if track.refusal is not None and track.refusal.code is ErrorCode.TOO_MANY_PIXELS:
                raise track.refusal
        spans_s = [sum(file.span_s(track)) - file.start_s for track in (file.video, file.audio) if track.stream]
        self.container = file.container_name
        self.duration_s = max(spans_s, default=None)
        if self.duration_s is not None and self.duration_s > limits.max_duration_s:
            raise DetectionError(
                ErrorCode.TOO_LONG,
                f"the clip is {self.duration_s:.1f} s long; at most {limits.max_duration_s:g} s are allowed "
                "(max_duration_s)",
            )

    def __enter__(self) -> Media:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    @property
    def video(self) -> VideoTrack | None:
        """The video track; None where there is none that can be read. Cover art and still pictures are none."""
        return self._file.video.info

    @property
    def audio(self) -> AudioTrack | None:
        """The audio track; None where there is none that can be read."""
        return self._file.audio.info

    @property
    def warnings(self) -> list[str]:
        """The messages of what was warned of so far."""
        return [note.message for note in self._file.warnings]

    def take_warnings(self) -> list[Note]:
        """The warnings since the last call: those of one track, when it is called after each."""
        taken = list(self._file.warnings)
        self._file.warnings.clear()
        return taken

    @property
    def decode_s(self) -> float:
        """Wall seconds spent in demuxing and decoding so far."""
        return self._budget.spent_s

    @property
    def counts(self) -> DecodeCounts:
        """Packets and frames that it took so far."""
        return self._file.counts

    def require_video(self) -> None:
        """Raise DetectionError `no_video_track` or `unsupported_codec` unless there is a video track to read."""
        _require(self._file.video, ErrorCode.NO_VIDEO_TRACK, f"the {self.container} file has no video track")

    def require_audio(self) -> None:
        """Raise DetectionError `no_audio_track` or `unsupported_codec` unless there is an audio track to read."""
        _require(self._file.audio, ErrorCode.NO_AUDIO_TRACK, f"the {self.container} file has no audio track")

    def frames(
        self,
        n_frames: int | None = None,
        interval_s: float | None = None,
        max_frames: int = 64,
        on_frame: Callable[[int, Frame], None] | None = None,
    ) -> list[Frame]:
        """Frames spread over the whole clip, either `n_frames` of them or one each `interval_s`, at most `max_frames`.

        The clip is cut into equal parts. Each gives the keyframe nearest to its centre if it holds one, so that a long
        clip costs no more than a short one; else the frame nearest to its centre, decoded from the keyframe before.

        Args:
            on_frame: told of each frame as soon as it is there, with its place in the list, so that work on it may
                begin while others are decoded. A clip that turns out shorter than declared is then read anew.

        Returns:
            At least one frame, in rising time. Fewer than asked for if the clip has no more, or is damaged.

        Raises:
            DetectionError: `no_video_track`, `unsupported_codec`, `too_many_pixels`, `undecodable_media`,
                `decode_timeout`.
            ValueError: not exactly one of `n_frames` and `interval_s` is given.
        """
        track = self._file.video
        _require(track, ErrorCode.NO_VIDEO_TRACK, "the file has no video track")
        start_s, duration_s = self._file.span_s(track)
        plan = frame_plan(start_s, duration_s, n_frames, interval_s, max_frames)
        with self._decoding():
            frames = self._video_reader.read(plan, on_frame=on_frame)
            if _ends_early(frames, plan, self._file.start_s):
                frames = self._frames_of_true_length(frames, duration_s, n_frames, interval_s, max_frames)
            if plan.is_capped:
                self._file.warn(
                    "many_frames",
                    f"more than {max_frames} frames were asked for: {max_frames} were spread over the clip",
                )
        self._check_damage(frames, len(plan.times_s))
        if self.n_video_tracks > 1:
            others = ", ".join(str(other.index) for other in self._file.videos[1:])
            message = f"the file has {self.n_video_tracks} video tracks: stream {track.index} was scored, {others} not"
            self._file.warn("several_tracks", message)
        if not frames:
            raise DetectionError(ErrorCode.UNDECODABLE_MEDIA, "no frame of the video track could be decoded")
        return frames

    def _check_damage(self, frames: list[Frame], n_wanted: int) -> None:
        """Refuse a film of which too much is damaged, else warn of what was left out."""
        if not self.counts.damaged_frames:
            return
        if len(frames) < MIN_WHOLE_SHARE * n_wanted:
            message = f"the film is damaged: only {len(frames)} of {n_wanted} sampled pictures are whole"
            raise DetectionError(ErrorCode.UNDECODABLE_MEDIA, message)
        self._file.warn("damaged", "the file is damaged: pictures that show it were left out")

    def _frames_of_true_length(
        self, frames: list[Frame], duration_s: float, n_frames: int | None, interval_s: float | None, max_frames: int
    ) -> list[Frame]:
        """Frames spread over as much of the track as there is, where its headers promised more."""
        scan = self._file.scan(self._file.video)
        if scan.duration_s > TRUSTED_PART * duration_s:
            return frames
        self._file.warn(
            "shorter", f"the video track ends after {scan.duration_s:.1f} s of the declared {duration_s:.1f} s"
        )
        plan = frame_plan(scan.start_s, scan.duration_s, n_frames, interval_s, max_frames)
        return self._video_reader.read(plan, scan.keyframes)

    def audio_segments(self, rate_hz: int, window_s: float, max_windows: int) -> list[AudioSegment]:
        """The clip's sound: all of it in one segment, or `max_windows` windows spread over a longer one.

        Of several voices the loudest of the first track that has sound.

        Raises:
            DetectionError: `no_audio_track`, `unsupported_codec`, `undecodable_media`, `decode_timeout`.
        """
        return self._voices(rate_hz, window_s, max_windows, n_tracks=1)[0].segments

    def voices(self, rate_hz: int, window_s: float, max_windows: int) -> list[Voice]:
        """Every voice of up to `MAX_SCORED_TRACKS` audio tracks, the default track first; as `audio_segments`."""
        return self._voices(rate_hz, window_s, max_windows, MAX_SCORED_TRACKS)

    def _voices(self, rate_hz: int, window_s: float, max_windows: int, n_tracks: int) -> list[Voice]:
        self.require_audio()
        voices: list[Voice] = []
        n_heard = 0
        with self._decoding():
            for place, track in enumerate(self._file.audios):
                self._file.settle_start(track)
                found = AudioReader(self._file, track, place).read(rate_hz, window_s, max_windows)
                voices += found
                n_heard += bool(found)
                if n_heard == n_tracks:
                    break
        if not voices:
            raise DetectionError(ErrorCode.UNDECODABLE_MEDIA, "nothing of the audio track could be decoded")
        return voices

    @property
    def n_audio_tracks(self) -> int:
        """Audio tracks that can be read."""
        return sum(track.stream is not None for track in self._file.audios)

    @property
    def n_video_tracks(self) -> int:
        """Video tracks that can be read."""
        return sum(track.stream is not None for track in self._file.videos)

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        """Run the budget's watch, and let nothing but a DetectionError out."""
        with self._budget.running():
            try:
                yield
            except DetectionError:
                raise
            except Exception as error:  # damage shows as almost any exception of libav, PyAV and numpy
                message = f"the file could not be decoded ({type(error).__name__})"
                raise DetectionError(ErrorCode.UNDECODABLE_MEDIA, message) from error


def _require(track: Track, code: ErrorCode, message: str) -> None:
    if track.stream is None:
        raise track.refusal or DetectionError(code, message)


def _ends_early(frames: list[Frame], plan: SamplePlan, zero_s: float) -> bool:
    """Whether the last planned part was left without a frame."""
    return not frames or plan.times_s[-1] - zero_s - frames[-1].time_s > plan.spacing_s
