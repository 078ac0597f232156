"""Small valid files of every container and codec on the list: what the mutations start from."""

from __future__ import annotations

import os
from functools import cache

from tests.clips import write_clip

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder would tell its settings; errors alone are enough
DURATION_S = 1.0
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

# What a file is -> arguments of `write_clip`.
_RECIPES: dict[str, dict] = {
    "mp4 h264 aac": {"container": "mp4", "audio_codec": "aac"},
    "mp4 fragmented": {"container": "mp4", "audio_codec": "aac", "container_options": _FRAGMENTED},
    "mp4 mpeg4 mp3": {"container": "mp4", "video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    "mp4 av1 opus": {"container": "mp4", "video_codec": "libsvtav1", "audio_codec": "libopus", "rate_hz": 48_000},
    "mov hevc alac": {"container": "mov", "video_codec": "libx265", "audio_codec": "alac"},
    "mov mjpeg pcm": {"container": "mov", "video_codec": "mjpeg", "audio_codec": "pcm_s16le"},
    "3gp h264 aac": {"container": "3gp", "audio_codec": "aac"},
    "m4a alac": {"container": "ipod", "video_codec": None, "audio_codec": "alac"},
    "matroska h264 flac": {"container": "matroska", "audio_codec": "flac"},
    "matroska vp8 vorbis": {"container": "matroska", "video_codec": "libvpx", "audio_codec": "vorbis", "n_channels": 2},
    "webm vp9 opus": {"container": "webm", "video_codec": "libvpx-vp9", "audio_codec": "libopus", "rate_hz": 48_000},
    "avi mpeg4 mp3": {"container": "avi", "video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    "avi mjpeg pcm": {"container": "avi", "video_codec": "mjpeg", "audio_codec": "pcm_s16le"},
    "wav pcm": {"container": "wav", "video_codec": None, "audio_codec": "pcm_s16le"},
    "wav float": {"container": "wav", "video_codec": None, "audio_codec": "pcm_f32le"},
    "w64 pcm": {"container": "w64", "video_codec": None, "audio_codec": "pcm_s24le"},
    "flac": {"container": "flac", "video_codec": None, "audio_codec": "flac"},
    "mp3": {"container": "mp3", "video_codec": None, "audio_codec": "libmp3lame"},
    "ogg vorbis": {"container": "ogg", "video_codec": None, "audio_codec": "vorbis", "n_channels": 2},
    "ogg opus": {"container": "ogg", "video_codec": None, "audio_codec": "libopus", "rate_hz": 48_000},
    "ogg flac": {"container": "ogg", "video_codec": None, "audio_codec": "flac"},
    "aac": {"container": "adts", "video_codec": None, "audio_codec": "aac"},
}


@cache
def valid_files() -> dict[str, bytes]:
    """What a file is -> its bytes; a second long and a few KB each, the same each time."""
    return {name: write_clip(**recipe, duration_s=DURATION_S) for name, recipe in _RECIPES.items()}
