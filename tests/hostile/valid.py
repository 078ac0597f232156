"""Small valid files of every container and codec on the list: what the mutations start from."""

from __future__ import annotations

import os
import struct
from functools import cache

import numpy as np

from tests.clips import write_clip
from tests.hostile.binary import chunk, riff

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
    "mpegts h264 aac": {"container": "mpegts", "audio_codec": "aac"},
    "mpegts hevc ac3": {"container": "mpegts", "video_codec": "libx265", "audio_codec": "ac3", "rate_hz": 48_000},
    "mpegts mpeg2 mp2": {"container": "mpegts", "video_codec": "mpeg2video", "audio_codec": "mp2", "rate_hz": 48_000},
    "flv h264 aac": {"container": "flv", "audio_codec": "aac", "rate_hz": 44_100},
    "flv sorenson mp3": {"container": "flv", "video_codec": "flv", "audio_codec": "libmp3lame", "rate_hz": 44_100},
    "asf wmv2 wmav2": {"container": "asf", "video_codec": "wmv2", "audio_codec": "wmav2", "rate_hz": 44_100},
    "asf wmav2": {"container": "asf", "video_codec": None, "audio_codec": "wmav2", "rate_hz": 44_100},
    "3gp h263 amr": {
        "container": "3gp",
        "video_codec": "h263",
        "audio_codec": "libopencore_amrnb",
        "rate_hz": 8_000,
        "size": (176, 144),
    },
    "amr": {"container": "amr", "video_codec": None, "audio_codec": "libopencore_amrnb", "rate_hz": 8_000},
    "wav ima adpcm": {"container": "wav", "video_codec": None, "audio_codec": "adpcm_ima_wav", "rate_hz": 8_000},
    "wav ms adpcm": {"container": "wav", "video_codec": None, "audio_codec": "adpcm_ms", "rate_hz": 8_000},
    "wav g726": {"container": "wav", "video_codec": None, "audio_codec": "g726", "rate_hz": 8_000},
    "wav a-law": {"container": "wav", "video_codec": None, "audio_codec": "pcm_alaw", "rate_hz": 8_000},
}


@cache
def valid_files() -> dict[str, bytes]:
    """What a file is -> its bytes; a second long and a few KB each, the same each time."""
    files = {name: write_clip(**recipe, duration_s=DURATION_S) for name, recipe in _RECIPES.items()}
    return files | {"wav gsm": gsm_wav()}


def gsm_wav(duration_s: float = DURATION_S) -> bytes:
    """GSM 06.10 in wav, as answering machines write it: noise, for libav has no encoder; any payload decodes.

    A block of 65 bytes holds two frames of 160 samples.
    """
    n_blocks = round(duration_s * 8_000 / 320)
    payload = np.random.default_rng(0).bytes(65 * n_blocks)
    form = struct.pack("<HHIIHHHH", 0x31, 1, 8_000, 1_625, 65, 0, 2, 320)
    return riff(
        b"WAVE", chunk(b"fmt ", form), chunk(b"fact", struct.pack("<I", 320 * n_blocks)), chunk(b"data", payload)
    )
