"""Which predictor judges which modality."""

from __future__ import annotations

from model_defs.inference.audio_predictor import AudioPredictor
from model_defs.inference.predictor import Predictor
from model_defs.inference.video_predictor import VideoPredictor

PREDICTORS: dict[str, type[Predictor]] = {
    predictor.modality: predictor for predictor in (VideoPredictor, AudioPredictor)
}
