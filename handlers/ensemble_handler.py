"""The `ensemble` model: decodes once, judges both tracks, fuses what it finds."""

from __future__ import annotations

from handlers.base import DetectionHandler


class EnsembleHandler(DetectionHandler):
    """Serves picture and sound of one upload, fused."""

    modalities = ("video", "audio")
