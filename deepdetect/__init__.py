"""Tells real video and speech from synthetic, in this process: `DeepfakeDetector`, and the `deepdetect` command."""

from deepdetect.detector import DeepfakeDetector

__all__ = ["DeepfakeDetector"]
