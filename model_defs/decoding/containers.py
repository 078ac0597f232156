"""What is let in: containers, codecs and sizes, decided before any decoder runs.

libav (PyAV) opens files with its own allow lists switched on: no playlists, no concatenation, no images. It is given
the bytes by a `Reader` and no protocol at all, so that nothing in a file can make it open another one, or a connection.
Hardly anything is decoded here, which makes opening quick and keeps decoders away from what is to be refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import av.logging
from av.stream import Disposition

from model_defs.decoding.budget import out_of_time
from model_defs.decoding.picture import UPRIGHT, Orientation
from model_defs.decoding.reader import Reader, refuse_reference
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits

# The container's name in answers, by the name of libav's demuxer.
CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "matroska",
    "avi": "avi",
    "wav": "wav",
    "w64": "wav",
    "flac": "flac",
    "mp3": "mp3",
    "ogg": "ogg",
    "aac": "aac",
    "amr": "amr",
    "mpegts": "mpegts",
    "flv": "flv",
    "asf": "asf",
}
VIDEO_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg"})
VIDEO_CODECS |= {"h263", "mpeg2video", "flv1", "wmv2", "wmv3", "vc1"}  # old phones, broadcasters, old recorders
AUDIO_CODECS = frozenset({"aac", "mp3", "opus", "vorbis", "flac", "alac"})  # and every "pcm_..."
AUDIO_CODECS |= {
    "amr_nb",
    "amr_wb",
    "gsm",
    "gsm_ms",
    "adpcm_ima_wav",
    "adpcm_ms",
    "adpcm_g726",
}  # phones, call recorders
AUDIO_CODECS |= {"mp2", "ac3", "eac3", "wmav1", "wmav2", "wmapro", "wmavoice"}  # broadcasters, dictation
MIN_AUDIO_RATE_HZ = 4_000
MOST_STREAMS = 1_000  # libav stops reading headers at so many, and says no more than that memory is short

# libav would decode a frame or more of every track to learn what it holds: 14 ms of a 720p clip's 15. Headers tell it
# as well, except of these: MPEG-4 in mp4 (its size), raw AAC (its rate), FLAC in Ogg (its channels).
_PROBE_DECODERS = "mpeg4,aac,flac"

# Still pictures that share the mp4 container (ISO/IEC 23008-12, and the AV1 image format).
_IMAGE_BRANDS = frozenset({"avif", "avis", "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"})
ASF_GUID = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"  # the first half of its header object's
_MP4_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"wide", b"free", b"skip"})


@dataclass(frozen=True)
class VideoTrack:
    """The video track as its container declares it.

    Attributes:
        width, height: pixels as stored, before any turn.
        fps: mean frames a second, None where it is not known.
        orientation: how a frame is turned, and perhaps mirrored, to be shown. libav tells it with the first decoded
            frame: upright until then.
    """

    codec: str
    width: int
    height: int
    fps: float | None
    orientation: Orientation = UPRIGHT


@dataclass(frozen=True)
class AudioTrack:
    """The audio track as its container declares it."""

    codec: str
    rate_hz: int
    channels: int


def check_size(source: bytes | Path, limits: Limits) -> None:
    """Refuse an empty, missing or oversized file before it is opened.

    Raises:
        DetectionError: `empty_body`, `too_large`, or `unreadable_file` for a path that is no file.
    """
    if isinstance(source, Path) and not source.is_file():
        raise DetectionError(ErrorCode.UNREADABLE_FILE, f"{source} is not a file")
    n_bytes = source.stat().st_size if isinstance(source, Path) else len(source)
    if n_bytes == 0:
        raise DetectionError(ErrorCode.EMPTY_BODY, "the file is empty; a video or audio file is expected")
    if n_bytes > limits.max_bytes:
        raise DetectionError(
            ErrorCode.TOO_LARGE, f"the file has {n_bytes} bytes; at most {limits.max_bytes} are allowed (max_bytes)"
        )


def open_container(reader: Reader, limits: Limits) -> av.container.InputContainer:
    """Open a file of an allowed container and read its headers, decoding nothing.

    Raises:
        DetectionError: `unknown_container`, `undecodable_media` for a damaged file of a known container,
            `too_many_tracks`, `too_large` for headers without end or that want much memory, `decode_timeout`.
    """
    options = {
        "format_whitelist": ",".join(CONTAINERS),
        "protocol_whitelist": "none",
        "codec_whitelist": _PROBE_DECODERS,
        "max_streams": str(max(MOST_STREAMS, limits.max_tracks + 1)),
    }
    av.logging.set_level(None)  # torchvision switches it on; it is noise here, and slow when it comes from many threads
    reader.begin_headers()
    try:
        container = av.open(
            reader,
            options={"max_pixels": str(limits.max_pixels)},
            container_options=options,
            metadata_errors="replace",
            timeout=(limits.decode_budget_s, None),
            io_open=refuse_reference,
        )
    except DetectionError:
        raise
    except av.ExitError as error:  # probing was interrupted
        raise out_of_time(limits.decode_budget_s) from error
    except MemoryError as error:  # libav says so of its own ceilings, on one block of memory and on tracks
        raise DetectionError(
            ErrorCode.TOO_LARGE,
            f"the headers want more than {limits.max_block_bytes} bytes in one block of memory (max_block_bytes), "
            f"or declare many more than the {limits.max_tracks} tracks that are allowed (max_tracks)",
        ) from error
    except Exception as error:  # libav and PyAV report damage through many exception types
        raise _not_opened(reader.head(16)) from error
    reader.end_headers()
    brand = container.metadata.get("major_brand", "").strip()
    # Bare MP3 and AAC have no signature, so that libav takes other things for them; those then have no sample rate.
    is_guess = container.format.name in ("mp3", "aac") and not all(stream.rate for stream in container.streams.audio)
    if is_guess or container.format.name not in CONTAINERS or brand in _IMAGE_BRANDS:
        raise _unknown()
    if len(container.streams) > limits.max_tracks:
        raise DetectionError(
            ErrorCode.TOO_MANY_TRACKS,
            f"the file has {len(container.streams)} tracks; at most {limits.max_tracks} are allowed (max_tracks)",
        )
    return container


def describe_video(stream: av.VideoStream, limits: Limits) -> VideoTrack:
    """The track's declaration.

    Raises:
        DetectionError: `unsupported_codec`, `too_many_pixels`.
    """
    codec = _codec_name(stream)
    if codec not in VIDEO_CODECS:
        raise _unsupported("video codec", codec, sorted(VIDEO_CODECS))
    check_pixels(stream.width, stream.height, limits)
    fps = stream.average_rate or stream.guessed_rate
    return VideoTrack(codec, stream.width, stream.height, float(fps) if fps else None)


def describe_audio(stream: av.AudioStream, limits: Limits) -> AudioTrack:
    """The track's declaration.

    Raises:
        DetectionError: `unsupported_codec`, `too_many_samples`.
    """
    codec = _codec_name(stream)
    if codec not in AUDIO_CODECS and not codec.startswith("pcm_"):
        raise _unsupported("audio codec", codec, [*sorted(AUDIO_CODECS), "pcm"])
    if stream.rate < MIN_AUDIO_RATE_HZ:
        raise DetectionError(
            ErrorCode.UNSUPPORTED_CODEC,
            f"the audio track has {stream.rate} samples a second; at least {MIN_AUDIO_RATE_HZ} are needed",
        )
    check_audio_form(stream.rate, stream.channels, limits)
    return AudioTrack(codec, stream.rate, stream.channels)


def check_audio_form(rate_hz: int, n_channels: int, limits: Limits) -> None:
    """Refuse sound of more samples a second, or more channels, than the limits.

    Raises:
        DetectionError: `too_many_samples`.
    """
    for n, limit, what, name in (
        (rate_hz, limits.max_audio_rate_hz, "samples a second", "max_audio_rate_hz"),
        (n_channels, limits.max_audio_channels, "channels", "max_audio_channels"),
    ):
        if n > limit:
            message = f"the audio track has {n} {what}; at most {limit} are allowed ({name})"
            raise DetectionError(ErrorCode.TOO_MANY_SAMPLES, message)


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """Refuse a frame larger than the limit.

    Raises:
        DetectionError: `too_many_pixels`.
    """
    if width * height > limits.max_pixels:
        raise DetectionError(
            ErrorCode.TOO_MANY_PIXELS,
            f"a frame has {width} x {height} pixels; at most {limits.max_pixels} are allowed (max_pixels)",
        )


def is_moving_picture(stream: av.VideoStream) -> bool:
    """Whether a video stream is a film, rather than cover art or a still picture."""
    return not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image)


def encrypted(message: str) -> DetectionError:
    """The refusal of what cannot be decoded without a key."""
    return DetectionError(ErrorCode.ENCRYPTED_MEDIA, message)


def _codec_name(stream: av.VideoStream | av.AudioStream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def _unsupported(what: str, name: str, allowed: list[str]) -> DetectionError:
    return DetectionError(ErrorCode.UNSUPPORTED_CODEC, f"the {what} is {name}; allowed: {', '.join(allowed)}")


def _unknown() -> DetectionError:
    allowed = ", ".join(dict.fromkeys(CONTAINERS.values()))
    return DetectionError(ErrorCode.UNKNOWN_CONTAINER, f"the file is not of a known container; allowed: {allowed}")


def _not_opened(head: bytes) -> DetectionError:
    """The error for a file that libav would not open: damaged if its first 16 bytes are of a known container."""
    if (
        head[4:8] in _MP4_FIRST_BOXES
        or head.startswith(
            (b"\x1aE\xdf\xa3", b"fLaC", b"OggS", b"ID3", b"riff\x2e\x91", b"FLV\x01", b"#!AMR", ASF_GUID)
        )
        or (head[:4] in (b"RIFF", b"RF64") and head[8:12] in (b"AVI ", b"WAVE"))
    ):
        return DetectionError(ErrorCode.UNDECODABLE_MEDIA, "the file is damaged: its headers cannot be read")
    return _unknown()
