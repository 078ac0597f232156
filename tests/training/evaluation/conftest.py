"""Candidates of the tiny artifacts."""

from __future__ import annotations

import pytest

from training.evaluation.file_scores import Candidate


@pytest.fixture
def audio_candidate(audio_artifact) -> Candidate:
    return Candidate("audio fp32", audio_artifact, "fp32")


@pytest.fixture
def video_candidate(video_artifact) -> Candidate:
    return Candidate("video fp32", video_artifact, "fp32")
