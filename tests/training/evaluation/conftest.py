"""Contenders of the tiny artifacts."""

from __future__ import annotations

import pytest

from training.evaluation.file_scores import Contender


@pytest.fixture
def audio_contender(audio_artifact) -> Contender:
    return Contender("audio fp32", audio_artifact, "fp32")


@pytest.fixture
def video_contender(video_artifact) -> Contender:
    return Contender("video fp32", video_artifact, "fp32")
