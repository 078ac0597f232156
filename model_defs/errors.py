"""What can be wrong with one request, as a closed list of codes.

Decoding, preprocessing, the local detector and the handlers all raise
`DetectionError`; only the caller decides whether it becomes an HTTP status, a
line of JSON or a message on the terminal.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Every refusal a caller can meet; the value is the code on the wire."""

    EMPTY_BODY = "empty_body"
    BAD_REQUEST = "bad_request"
    BAD_OPTION = "bad_option"
    UNREADABLE_FILE = "unreadable_file"
    TOO_LARGE = "too_large"
    UNKNOWN_CONTAINER = "unknown_container"
    UNSUPPORTED_CODEC = "unsupported_codec"
    ENCRYPTED_MEDIA = "encrypted_media"
    NO_VIDEO_TRACK = "no_video_track"
    NO_AUDIO_TRACK = "no_audio_track"
    UNDECODABLE_MEDIA = "undecodable_media"
    SILENT_AUDIO = "silent_audio"
    NO_FACE = "no_face"
    TOO_LONG = "too_long"
    TOO_MANY_TRACKS = "too_many_tracks"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_SAMPLES = "too_many_samples"
    TOO_MANY_PACKETS = "too_many_packets"
    TOO_MANY_FRAMES = "too_many_frames"
    DECODE_TIMEOUT = "decode_timeout"
    DRAINING = "draining"
    INTERNAL = "internal"

    @property
    def status(self) -> int:
        """The HTTP status that goes with this code."""
        return _STATUS[self]


_STATUS = {
    ErrorCode.EMPTY_BODY: 400,
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.BAD_OPTION: 400,
    ErrorCode.UNREADABLE_FILE: 400,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNKNOWN_CONTAINER: 415,
    ErrorCode.UNSUPPORTED_CODEC: 415,
    ErrorCode.ENCRYPTED_MEDIA: 415,
    ErrorCode.NO_VIDEO_TRACK: 422,
    ErrorCode.NO_AUDIO_TRACK: 422,
    ErrorCode.UNDECODABLE_MEDIA: 422,
    ErrorCode.SILENT_AUDIO: 422,
    ErrorCode.NO_FACE: 422,
    ErrorCode.TOO_LONG: 422,
    ErrorCode.TOO_MANY_TRACKS: 422,
    ErrorCode.TOO_MANY_PIXELS: 422,
    ErrorCode.TOO_MANY_SAMPLES: 422,
    ErrorCode.TOO_MANY_PACKETS: 422,
    ErrorCode.TOO_MANY_FRAMES: 422,
    ErrorCode.DECODE_TIMEOUT: 422,
    ErrorCode.DRAINING: 503,
    ErrorCode.INTERNAL: 500,
}


class DetectionError(ValueError):
    """One file or request is refused; its neighbours are not concerned.

    Args:
        code: the reason, from the closed list.
        message: what was wrong and what is allowed, in one sentence. It may
            hold text from the caller, so it belongs in a body, never in an HTTP
            reason phrase or header.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def to_dict(self) -> dict:
        """The error form of the request contract."""
        return {"error": {"code": self.code.value, "message": self.message, "status": self.code.status}}


class ModelLoadError(RuntimeError):
    """A model cannot be loaded: the fault of an installation, never of one request."""
