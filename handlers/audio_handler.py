"""The `audio` model: judges the audio track."""

from __future__ import annotations

from handlers.base import DetectionHandler


class AudioHandler(DetectionHandler):
    """Serves the audio model."""

    modalities = ("audio",)
