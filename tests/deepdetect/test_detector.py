"""The local detector, as its users call it."""

from __future__ import annotations

import json

import pytest

from deepdetect.detector import DeepfakeDetector
from model_defs.errors import DetectionError, ErrorCode, ModelLoadError


def test_each_method_judges_its_own_track(detector, sample_clip):
    assert set(detector.detect_video(sample_clip)["modalities"]) == {"video"}
    assert set(detector.detect_audio(sample_clip)["modalities"]) == {"audio"}
    assert set(detector.detect(sample_clip)["modalities"]) == {"video", "audio"}


def test_the_model_in_the_answer_is_the_one_that_was_asked(detector, sample_clip):
    assert detector.detect_video(sample_clip)["model"]["name"] == "video"
    assert detector.detect(sample_clip)["model"]["name"] == "ensemble"


def test_a_refused_file_raises_alone_and_keeps_its_place_in_a_batch(detector, sample_clip, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("this is no clip")
    with pytest.raises(DetectionError) as caught:
        detector.detect(text)
    assert caught.value.code is ErrorCode.UNKNOWN_CONTAINER
    answers = detector.detect_batch([sample_clip, text, tmp_path / "nowhere.wav", sample_clip], "audio")
    assert [answer.get("error", {}).get("code") for answer in answers] == [
        None,
        "unknown_container",
        "unreadable_file",
        None,
    ]
    assert [answer["file_name"] for answer in answers] == [
        sample_clip.name,
        "notes.mp4",
        "nowhere.wav",
        sample_clip.name,
    ]


def test_weights_are_loaded_when_first_needed(artifacts_dir, sample_clip):
    detector = DeepfakeDetector(artifacts_dir / "video", artifacts_dir / "audio", device="cpu", max_cache_size=3)
    assert [model["loaded"] for model in detector.get_model_info()["models"].values()] == [False, False]
    detector.detect_audio(sample_clip)
    info = detector.get_model_info()
    assert {name: model["loaded"] for name, model in info["models"].items()} == {"video": False, "audio": True}
    assert (
        info["models"]["audio"]["network"]
        == json.loads((artifacts_dir / "audio" / "manifest.json").read_text())["network"]
    )
    assert info["device"] == "cpu"
    assert info["cache_size"] == 1


def test_use_quantization_chooses_the_variant(artifacts_dir, sample_clip):
    for use_quantization, variant in [(True, "int8"), (False, "fp32")]:
        detector = DeepfakeDetector(
            audio_model_path=artifacts_dir / "audio", device="cpu", use_quantization=use_quantization
        )
        assert detector.detect_audio(sample_clip)["model"]["variant"] == variant
        assert detector.get_model_info()["quantization_enabled"] is use_quantization


def test_a_repeat_comes_from_the_cache_unless_it_is_off(artifacts_dir, sample_clip):
    for use_cache, outcomes in [(True, ["miss", "hit"]), (False, ["off", "off"])]:
        detector = DeepfakeDetector(audio_model_path=artifacts_dir / "audio", device="cpu", use_cache=use_cache)
        assert [detector.detect_audio(sample_clip)["cache"] for _ in range(2)] == outcomes


def test_one_artifact_file_serves_as_well_as_its_directory(artifacts_dir, sample_clip):
    by_file, by_directory = (
        DeepfakeDetector(audio_model_path=path, device="cpu", use_quantization=False).detect_audio(sample_clip)
        for path in (artifacts_dir / "audio" / "fp32.pt", artifacts_dir / "audio")
    )
    assert by_file["probabilities"] == by_directory["probabilities"]


def test_the_wrong_kind_of_model_is_named(artifacts_dir, sample_clip):
    detector = DeepfakeDetector(video_model_path=artifacts_dir / "audio", device="cpu")
    with pytest.raises(ModelLoadError, match="audio model; video was expected"):
        detector.detect_video(sample_clip)


def test_a_model_that_is_not_there_is_named(sample_clip, tmp_path):
    detector = DeepfakeDetector(audio_model_path=tmp_path / "nowhere.pt", device="cpu")
    with pytest.raises(ModelLoadError, match=r"nowhere\.pt"):
        detector.detect_audio(sample_clip)


def test_a_wrong_option_is_refused_before_any_file_is_opened(detector):
    with pytest.raises(DetectionError, match="frames"):
        detector.detect_video("nowhere.mp4", frames=0)
