"""Which frames come back, upright, and how many are decoded for them."""

from __future__ import annotations

import av
import pytest

from model_defs.decoding.media import Media
from model_defs.decoding.picture import MAX_SIDE_PX, Orientation
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from tests.clips import declare_size, loop_clip, read_time_s, time_image, with_tracks, write_clip

FRAME_S = 0.04
FORMATS = [
    ("mp4", "libx264"),
    ("mp4", "libx265"),
    ("mp4", "libvpx-vp9"),
    ("mp4", "libsvtav1"),
    ("mp4", "mpeg4"),
    ("mov", "libx264"),
    ("mov", "libx265"),
    ("mov", "mjpeg"),
    ("matroska", "libx264"),
    ("matroska", "libx265"),
    ("matroska", "libvpx-vp9"),
    ("matroska", "libsvtav1"),
    ("matroska", "mpeg4"),
    ("webm", "libvpx"),
    ("webm", "libvpx-vp9"),
    ("webm", "libsvtav1"),
    ("avi", "libx264"),
    ("avi", "mpeg4"),
    ("avi", "mjpeg"),
    ("mpegts", "libx264"),
    ("mpegts", "libx265"),
    ("mpegts", "mpeg2video"),
    ("flv", "libx264"),
    ("flv", "flv"),
    ("asf", "wmv2"),
]


@pytest.mark.parametrize("gop", [10, 250])
@pytest.mark.parametrize(("container", "codec"), FORMATS)
def test_every_format_gives_the_frames_of_the_times_it_says(container: str, codec: str, gop: int):
    with Media(write_clip(container, codec, duration_s=4.0, gop=gop)) as media:
        frames = media.frames(n_frames=8)
        assert not media.warnings
    assert len(frames) == 8
    # H.264 in AVI has no display times of its own; they are off by the depth of reordering.
    exact_s = 2 * FRAME_S if (container, codec) == ("avi", "libx264") else FRAME_S / 2
    for index, frame in enumerate(frames):
        assert frame.image.shape == (64, 96, 3)
        assert frame.time_s == pytest.approx(read_time_s(frame.image), abs=exact_s + 1e-6)
        # Each eighth of the clip gives one; open groups of pictures may be listed some frames off.
        assert abs(frame.time_s - (index + 0.5) * 0.5) <= 0.25 + 3 * FRAME_S


def test_by_interval():
    with Media(write_clip(duration_s=5.0, gop=250)) as media:
        frames = media.frames(interval_s=1.0)
    assert [read_time_s(frame.image) for frame in frames] == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5], abs=2 * FRAME_S)


def test_too_many_intervals_are_spread_and_told():
    with Media(write_clip(duration_s=5.0)) as media:
        frames = media.frames(interval_s=0.1, max_frames=5)
        assert len(frames) == 5
        assert frames[-1].time_s >= 4.0
        assert "more than 5 frames" in media.warnings[0]


def test_a_clock_that_starts_elsewhere_does_not_count_as_length():
    with Media(
        write_clip("matroska", duration_s=3.0, gop=10, container_options={"output_ts_offset": "18000"})
    ) as media:
        assert media.duration_s == pytest.approx(3.0, abs=0.1)
        frames = media.frames(10)
    assert [frame.time_s for frame in frames] == pytest.approx([0.15 + 0.3 * i for i in range(10)], abs=0.15)


@pytest.mark.parametrize("gop", [10, 250])
def test_times_below_zero_are_part_of_the_clip(gop: int):
    options = {"avoid_negative_ts": "disabled"}
    times_s = [index / 25 - 2.0 for index in range(125)]
    data = write_clip("matroska", times_s=times_s, images=[time_image(t + 2.0) for t in times_s], gop=gop,
                      container_options=options)  # fmt: skip
    with Media(data) as media:
        assert media.duration_s == pytest.approx(5.0, abs=0.1)
        frames = media.frames(10)
    assert [frame.time_s for frame in frames] == pytest.approx([0.25 + 0.5 * i for i in range(10)], abs=0.25)
    for frame in frames:
        assert read_time_s(frame.image) == pytest.approx(frame.time_s, abs=0.1)  # counted, not told


@pytest.mark.parametrize("rotation_deg", [90, 180, -90])
def test_rotation_metadata_is_honoured(rotation_deg: int):
    with Media(write_clip(duration_s=0.4, rotation_deg=rotation_deg)) as media:
        stored = (media.video.width, media.video.height)
        frames = media.frames(3)
        assert media.video.orientation == Orientation(rotation_deg % 360)
    assert stored == ((64, 96) if rotation_deg % 180 else (96, 64))
    for frame in frames:
        assert frame.image.shape == (64, 96, 3)
        assert read_time_s(frame.image) == pytest.approx(frame.time_s, abs=1e-6)  # and raises if it is not upright


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("n_b_frames", [0, 2])
def test_variable_frame_rate_goes_by_the_clock(container: str, n_b_frames: int):
    dense_s = [index * 0.02 for index in range(100)]  # 2 s at 50 fps
    sparse_s = [2.0 + index * 0.5 for index in range(16)]  # 8 s at 2 fps
    clip = write_clip(container, times_s=[*dense_s, *sparse_s], gop=1000, options={"bf": str(n_b_frames)})
    with Media(clip) as media:
        frames = media.frames(n_frames=4)
        part_s = media.duration_s / 4
    assert [read_time_s(frame.image) for frame in frames] == pytest.approx([frame.time_s for frame in frames], abs=1e-3)
    centres_s = [(index + 0.5) * part_s for index in range(4)]
    assert [frame.time_s for frame in frames] == pytest.approx(centres_s, abs=part_s / 4 + 0.25)


def test_a_clip_that_starts_late_counts_from_its_start():
    with Media(write_clip("matroska", times_s=[5 + index * 0.04 for index in range(50)], gop=10)) as media:
        frames = media.frames(4)
        assert all(frame.time_s == pytest.approx(read_time_s(frame.image) - 5, abs=1e-3) for frame in frames)
    assert frames[0].time_s < 0.5


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_an_hour_costs_no_more_than_ten_seconds(container: str):
    short = write_clip(container, audio_codec="aac", duration_s=10.0, fps=5, gop=10, rate_hz=8_000)
    with Media(short) as media:
        media.frames(10)
        media.audio_segments(8_000, 4.0, 8)
        short_counts = media.counts
    with Media(loop_clip(short, container, 360)) as media:
        assert media.duration_s > 3_500
        frames = media.frames(10)
        segments = media.audio_segments(8_000, 4.0, 8)
        long_counts = media.counts
    assert len(frames) == 10
    assert all(abs(frame.time_s - (index + 0.5) * 360) < 200 for index, frame in enumerate(frames))
    assert len(segments) == 8
    assert long_counts.video_frames <= short_counts.video_frames
    assert long_counts.audio_frames <= 4 * short_counts.audio_frames  # 32 s of sound against 10
    assert long_counts.packets < 2_000  # of 47,000


def test_a_keyframe_in_each_part_decodes_nothing_else():
    with Media(write_clip(duration_s=10.0, gop=25)) as media:
        assert len(media.frames(10)) == 10
        assert media.counts.video_frames == 10


def test_frames_that_no_other_needs_are_skipped_in_a_long_group():
    with Media(write_clip(duration_s=10.0, gop=1000, options={"b-pyramid": "none"})) as media:
        assert len(media.frames(10)) == 10
        assert media.counts.video_frames < 125  # of 250, two of three being B-frames


@pytest.mark.parametrize(("container", "options"), [("webm", {"live": "1"}), ("matroska", {"live": "1"})])
def test_a_recording_without_duration_and_index_is_sampled_whole(container: str, options: dict[str, str]):
    codec = "libvpx" if container == "webm" else "libx264"
    with Media(write_clip(container, codec, duration_s=6.0, gop=10, container_options=options)) as media:
        assert media.duration_s == pytest.approx(6.0, abs=0.1)
        frames = media.frames(6)
    assert [read_time_s(frame.image) for frame in frames] == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5], abs=0.5)


def test_a_fragmented_mp4_is_sampled_by_seeking():
    options = {"movflags": "frag_keyframe+empty_moov"}
    with Media(write_clip(duration_s=10.0, gop=25, container_options=options)) as media:
        frames = media.frames(10)
        assert media.counts.video_frames == 10
    assert [read_time_s(frame.image) for frame in frames] == pytest.approx([float(second) for second in range(10)])


@pytest.mark.parametrize("n_frames", [1, 10])
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_a_truncated_clip_gives_what_there_is(container: str, n_frames: int, tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(write_clip(container, duration_s=10.0))
    if container == "mp4":  # with its index in front, as it is streamed
        path = remux_for_streaming(path)
    clip = path.read_bytes()
    with Media(clip[: len(clip) * 45 // 100]) as media:
        frames = media.frames(n_frames)
        if n_frames > 1:
            assert any("of the declared 10.0 s" in warning for warning in media.warnings)
    assert len(frames) == n_frames
    assert all(read_time_s(frame.image) == pytest.approx(frame.time_s, abs=FRAME_S) for frame in frames)
    assert (2.0 if n_frames == 1 else 3.0) <= frames[-1].time_s < 5.0


@pytest.mark.parametrize(("duration_s", "n_frames"), [(0.04, 1), (0.2, 5), (1.0, 10)])
def test_a_short_clip_gives_each_frame_once(duration_s: float, n_frames: int):
    with Media(write_clip(duration_s=duration_s)) as media:
        times_s = [read_time_s(frame.image) for frame in media.frames(10)]
    assert len(set(times_s)) == len(times_s) == n_frames


def test_large_frames_are_scaled_down():
    with Media(write_clip(duration_s=0.08, size=(2560, 1280), fps=25)) as media:
        frame = media.frames(1)[0]
    assert frame.image.shape == (MAX_SIDE_PX // 2, MAX_SIDE_PX, 3)
    read_time_s(frame.image)


def test_pixels_are_counted_in_decoded_frames_as_well():
    clip = declare_size(write_clip(duration_s=0.2), 32, 32)
    with Media(clip, Limits(max_pixels=96 * 64 - 1)) as media, pytest.raises(DetectionError) as refusal:
        media.frames(1)
    assert refusal.value.code is ErrorCode.TOO_MANY_PIXELS
    with Media(clip, Limits(max_pixels=32 * 32)) as media, pytest.raises(DetectionError) as refusal:
        media.frames(1)
    assert refusal.value.code is ErrorCode.UNDECODABLE_MEDIA  # the decoder itself would not allocate them


def test_more_codec_threads_give_the_same_frames():
    clip = write_clip(duration_s=2.0, gop=250)
    with Media(clip) as one, Media(clip, codec_threads=2) as two:
        for first, second in zip(one.frames(5), two.frames(5), strict=True):
            assert first.time_s == second.time_s
            assert (first.image == second.image).all()


def remux_for_streaming(path):
    """The same mp4 with its index before its data."""
    streamed = path.with_suffix(".mp4")
    with av.open(str(path)) as source, av.open(str(streamed), "w", options={"movflags": "faststart"}) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return streamed


def test_the_default_video_track_is_read_and_the_other_told():
    late = [time_image(10 + index / 25) for index in range(25)]
    data = with_tracks(write_clip(duration_s=1.0), write_clip(images=late), default=1)
    with Media(data) as media:
        frames = media.frames(3)
        assert [note.code for note in media.take_warnings()] == ["several_tracks"]
    assert all(read_time_s(frame.image) >= 10 for frame in frames)
