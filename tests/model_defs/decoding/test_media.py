"""The way in: what a file holds, what it may cost, and what is raised."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_defs.decoding.media import Media
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from tests.clips import add_cover_art, declare_size, read_time_s, tone, write_audio, write_clip


def code_of(action) -> ErrorCode:
    with pytest.raises(DetectionError) as refusal:
        action()
    return refusal.value.code


def test_tells_what_a_file_holds():
    with Media(write_clip(audio_codec="aac", duration_s=2.0, n_channels=2)) as media:
        assert (media.container, media.duration_s) == ("mp4", pytest.approx(2.0, abs=0.1))
        assert (media.video.codec, media.video.width, media.video.height, media.video.fps) == ("h264", 96, 64, 25.0)
        assert (media.audio.codec, media.audio.rate_hz, media.audio.channels) == ("aac", 16_000, 2)
        assert media.decode_s >= 0
        media.frames(2)
        assert media.counts.video_frames >= 2


@pytest.mark.parametrize("as_path", [True, False])
def test_bytes_and_paths_are_alike(as_path: bool, tmp_path: Path):
    data = write_clip(audio_codec="aac", duration_s=1.0)
    path = tmp_path / "a clip:1.bin"
    path.write_bytes(data)
    with Media(path if as_path else data) as media:
        assert [read_time_s(frame.image) for frame in media.frames(2)] == pytest.approx([0.25, 0.75], abs=0.3)
        assert len(media.audio_segments(16_000, 4.0, 8)) == 1


def test_a_silent_film_has_no_audio_track():
    with Media(write_clip(duration_s=0.2)) as media:
        assert media.audio is None
        assert code_of(lambda: media.audio_segments(16_000, 4.0, 8)) is ErrorCode.NO_AUDIO_TRACK
        assert media.frames(1)


def test_a_sound_file_has_no_video_track():
    with Media(write_audio(duration_s=0.2)) as media:
        assert media.video is None
        assert code_of(lambda: media.frames(1)) is ErrorCode.NO_VIDEO_TRACK


def test_an_unsupported_track_leaves_the_other_one():
    with Media(write_clip("matroska", "ffv1", "aac", duration_s=0.4)) as media:
        assert media.video is None
        assert code_of(lambda: media.frames(1)) is ErrorCode.UNSUPPORTED_CODEC
        assert media.audio_segments(16_000, 4.0, 8)


def test_limits_on_the_file():
    data = write_clip(duration_s=2.0)
    assert code_of(lambda: Media(b"")) is ErrorCode.EMPTY_BODY
    assert code_of(lambda: Media(data, Limits(max_bytes=100))) is ErrorCode.TOO_LARGE
    assert code_of(lambda: Media(data, Limits(max_duration_s=1.9))) is ErrorCode.TOO_LONG
    assert code_of(lambda: Media(data, Limits(max_pixels=96 * 64 - 1))) is ErrorCode.TOO_MANY_PIXELS
    assert code_of(lambda: Media(declare_size(data, 10_000, 10_000))) is ErrorCode.TOO_MANY_PIXELS
    with Media(data, Limits(max_bytes=len(data), max_duration_s=2.0, max_pixels=96 * 64)) as media:
        assert len(media.frames(3)) == 3


def test_the_budget_is_wall_time_of_decoding():
    with Media(write_clip(audio_codec="aac", duration_s=2.0)) as media:
        media._budget.limit_s = media.decode_s
        assert code_of(lambda: media.frames(3)) is ErrorCode.DECODE_TIMEOUT
        assert code_of(lambda: media.audio_segments(16_000, 4.0, 8)) is ErrorCode.DECODE_TIMEOUT


def test_headers_without_any_content_are_undecodable():
    with Media(write_audio(duration_s=1.0)[:78]) as media:
        assert code_of(lambda: media.audio_segments(16_000, 4.0, 8)) is ErrorCode.UNDECODABLE_MEDIA


def test_content_overwritten_is_undecodable():
    clip = bytearray(write_clip(duration_s=1.0))
    start, end = clip.index(b"mdat") + 4, clip.rindex(b"moov")
    clip[start:end] = bytes(end - start)
    with Media(bytes(clip)) as media:
        assert code_of(lambda: media.frames(3)) is ErrorCode.UNDECODABLE_MEDIA


def test_a_wrong_request_is_not_blamed_on_the_file():
    with Media(write_clip(duration_s=0.2)) as media, pytest.raises(ValueError, match="n_frames") as mistake:
        media.frames()
    assert not isinstance(mistake.value, DetectionError)


def test_files_in_several_threads_do_not_meet():
    clips = {gop: write_clip(audio_codec="aac", duration_s=2.0, gop=gop, sound=tone(2.0, level=0.1)) for gop in (5, 50)}

    def read(gop: int) -> list[float]:
        with Media(clips[gop]) as media:
            assert len(media.audio_segments(16_000, 4.0, 8)) == 1
            return [read_time_s(frame.image) for frame in media.frames(5)]

    expected = {gop: read(gop) for gop in clips}
    with ThreadPoolExecutor(4) as pool:
        gops = [5, 50] * 8
        assert list(pool.map(read, gops)) == [expected[gop] for gop in gops]


def _sources() -> dict[str, bytes]:
    return {
        "mp4": write_clip(audio_codec="aac", duration_s=0.6),
        "matroska": write_clip("matroska", "libx264", "aac", duration_s=0.6),
        "webm": write_clip("webm", "libvpx-vp9", "libopus", duration_s=0.6, rate_hz=48_000),
        "avi": write_clip("avi", "mpeg4", "aac", duration_s=0.6),
        "cover": add_cover_art(write_audio("mp3", "libmp3lame", rate_hz=44_100, duration_s=0.6), "mp3"),
        "wav": write_audio("wav", "pcm_f32le", duration_s=0.6),
        "ogg": write_audio("ogg", "libopus", duration_s=0.6, rate_hz=48_000),
    }


def test_damage_of_any_kind_is_a_refusal_or_a_result():
    rng = np.random.default_rng(2)
    limits = Limits(decode_budget_s=5.0)
    for source in _sources().values():
        for _ in range(12):
            damaged = bytearray(source)
            for position in rng.integers(0, min(len(damaged), int(rng.choice([600, 10**9]))), 8):
                damaged[position] = rng.integers(256)
            with suppress(DetectionError), Media(bytes(damaged), limits) as media:
                if media.video is not None:
                    assert all(frame.image.dtype == np.uint8 for frame in media.frames(3))
                if media.audio is not None:
                    assert all(np.isfinite(part.samples).all() for part in media.audio_segments(16_000, 0.1, 4))


def corrupted(mp4: bytes, from_byte: float, to_byte: float, seed: int = 1) -> bytes:
    """The file with 12 bytes of each kilobyte between two parts of its picture data replaced."""
    rng = np.random.default_rng(seed)
    start = mp4.index(b"mdat") + 4
    end = mp4.find(b"moov", start)
    end = len(mp4) if end < 0 else end
    damaged, length = bytearray(mp4), end - start
    for at in range(start + int(from_byte * length), start + int(to_byte * length) - 16, 300):
        damaged[at : at + 12] = rng.bytes(12)
    return bytes(damaged)


def moving(seed: int = 0) -> list[np.ndarray]:
    """Three seconds of noise that a decoder cannot guess, so that damage shows."""
    rng = np.random.default_rng(seed)
    return [cv2.resize(rng.integers(0, 255, (16, 24, 3), np.uint8), (192, 128)) for _ in range(75)]


def test_a_film_whose_pictures_are_concealed_damage_is_refused():
    data = write_clip(images=moving(), size=(192, 128), gop=75, options={"crf": "20"})
    with Media(corrupted(data, 0.02, 1.0)) as media:
        assert code_of(lambda: media.frames(10)) is ErrorCode.UNDECODABLE_MEDIA


def test_damaged_pictures_are_left_out_and_told():
    images = moving()
    data = write_clip(images=images, size=(192, 128), gop=10, options={"crf": "20"})
    with Media(data) as media:
        whole = media.frames(10)
    with Media(corrupted(data, 0.1, 0.3)) as media:
        frames = media.frames(10)
        assert media.counts.damaged_frames > 0
        assert [note.code for note in media.take_warnings()].count("damaged") >= 1
    assert 5 <= len(frames) <= 10
    for frame in frames:  # each is a picture of the film, to the noise of coding
        assert min(np.abs(frame.image.astype(int) - other).mean() for other in images) < 12
    assert len(whole) == 10


def test_an_encrypted_track_is_told_as_such():
    data = write_clip(container_options={
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "0123456789abcdef0123456789abcdef",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    })  # fmt: skip
    with Media(data) as media:
        assert code_of(lambda: media.frames(10)) is ErrorCode.ENCRYPTED_MEDIA
