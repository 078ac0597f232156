"""The `video` model: judges the video track."""

from __future__ import annotations

from handlers.base import DetectionHandler


class VideoHandler(DetectionHandler):
    """Serves the video model."""

    modalities = ("video",)
