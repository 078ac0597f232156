"""What is let in and what is refused, before any decoder runs."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from model_defs.decoding.budget import DecodeBudget
from model_defs.decoding.containers import check_size, describe_video, open_container
from model_defs.decoding.reader import Reader
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from tests.clips import declare_size, time_image, write_clip
from tests.hostile.binary import mp4, sound_entry, trak

PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
NOT_MEDIA = {
    "text": b"hello world\n" * 200,
    "utf-16 text": "héllo wörld\n".encode("utf-16") * 200,
    "json": b'{"data": [1, 2, 3]}',
    "playlist": PLAYLIST,
    "concatenation": b"ffconcat version 1.0\nfile /etc/hostname\n",
    "session description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n\n" * 20,
    "zeros": bytes(10_000),
    "noise": np.random.default_rng(0).bytes(50_000),
}


def opened(source: bytes | Path, limits: Limits = Limits()) -> av.container.InputContainer:
    return open_container(Reader(source, limits, DecodeBudget(limits.decode_budget_s)), limits)


def code_of(source: bytes | Path, limits: Limits = Limits()) -> ErrorCode:
    with pytest.raises(DetectionError) as refusal:
        opened(source, limits)
    return refusal.value.code


@pytest.mark.parametrize("data", NOT_MEDIA.values(), ids=NOT_MEDIA.keys())
def test_what_is_no_media_is_an_unknown_container(data: bytes):
    assert code_of(data) is ErrorCode.UNKNOWN_CONTAINER


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_images_are_refused(suffix: str):
    assert code_of(cv2.imencode(suffix, time_image(0.0))[1].tobytes()) is ErrorCode.UNKNOWN_CONTAINER


def test_images_in_the_mp4_container_are_refused():
    assert code_of(write_clip("avif", "libsvtav1", duration_s=0.04)) is ErrorCode.UNKNOWN_CONTAINER


def test_gif_is_refused():
    one_pixel = "47494638396101000100800000ffffff0000002c00000000010001000002024401003b"
    assert code_of(bytes.fromhex(one_pixel)) is ErrorCode.UNKNOWN_CONTAINER


@pytest.mark.parametrize("container", ["nut", "mpeg"])
def test_containers_off_the_list_are_refused(container: str):
    assert code_of(write_clip(container, "libx264", duration_s=0.4)) is ErrorCode.UNKNOWN_CONTAINER


def test_a_playlist_in_a_file_is_refused_whatever_its_name(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(PLAYLIST)
    assert code_of(path) is ErrorCode.UNKNOWN_CONTAINER


def test_an_mp4_without_its_index_is_damaged():
    clip = write_clip(duration_s=1.0)
    assert code_of(clip[: len(clip) // 2]) is ErrorCode.UNDECODABLE_MEDIA


def test_type_is_found_from_content_not_from_the_name(tmp_path: Path):
    path = tmp_path / "http: ünïcode\nname.txt"
    path.write_bytes(write_clip(duration_s=0.2))
    with opened(path) as container:
        assert describe_video(container.streams.video[0], Limits()).codec == "h264"


def test_opening_reads_headers_only():
    with opened(write_clip(duration_s=1.0)) as container:
        assert not container.streams.video[0].codec_context.is_open


def test_too_many_declared_pixels_are_refused_with_the_limit():
    container = opened(declare_size(write_clip(duration_s=0.2), 10_000, 10_000))
    with container, pytest.raises(DetectionError, match="10000 x 10000 .* 16777216") as refusal:
        describe_video(container.streams.video[0], Limits())
    assert refusal.value.code is ErrorCode.TOO_MANY_PIXELS


def test_codecs_off_the_list_are_refused_by_name():
    container = opened(write_clip("matroska", "ffv1", duration_s=0.2))
    with container, pytest.raises(DetectionError, match="ffv1; allowed: av1, .*h264") as refusal:
        describe_video(container.streams.video[0], Limits())
    assert refusal.value.code is ErrorCode.UNSUPPORTED_CODEC


def test_too_many_tracks_are_refused_with_the_limit():
    clip = write_clip(audio_codec="aac", duration_s=0.2)
    with pytest.raises(DetectionError, match="2 tracks; at most 1 "):
        opened(clip, Limits(max_tracks=1))


def test_thousands_of_tracks_are_refused_with_the_limit():
    for n_tracks, code in ((900, ErrorCode.TOO_MANY_TRACKS), (3_000, ErrorCode.TOO_LARGE)):
        with pytest.raises(DetectionError, match=r"32 .*\(max_tracks\)") as refusal:
            opened(mp4(*[trak(sound_entry())] * n_tracks))
        assert refusal.value.code is code


def test_sizes(tmp_path: Path):
    for source, limits, code in [
        (b"", Limits(), ErrorCode.EMPTY_BODY),
        (b"1234", Limits(max_bytes=3), ErrorCode.TOO_LARGE),
        (tmp_path / "none.mp4", Limits(), ErrorCode.UNREADABLE_FILE),
    ]:
        with pytest.raises(DetectionError) as refusal:
            check_size(source, limits)
        assert refusal.value.code is code
