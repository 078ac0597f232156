"""What is remembered of a file besides answers: whoever asks again decodes nothing."""

from __future__ import annotations

import pytest

from model_defs.caching.detection_cache import DetectionCache
from model_defs.caching.settings import CacheSettings
from model_defs.decoding.budget import out_of_time
from model_defs.errors import ErrorCode
from model_defs.inference import samples as tracks
from model_defs.inference.engine import Engine, Item, load_engine
from model_defs.inference.options import DetectOptions
from model_defs.inference.predictors import PREDICTORS
from model_defs.inference.settings import EngineSettings
from model_defs.limits import Limits
from samples.clip import make_sample

VOLATILE = ("processing_time", "timestamp", "timings_s", "cache", "file_name")


@pytest.fixture
def make_engine(artifacts_dir):
    """Makes warm engines over some modalities; all of them share one memory."""
    cache = DetectionCache(CacheSettings(store="memory"))

    def make(*modalities: str, variant: str = "fp32", version: str = "1.0", limits: Limits = Limits()) -> Engine:
        predictors = {name: PREDICTORS[name](artifacts_dir / name, "cpu", variant) for name in modalities}
        engine = Engine(
            predictors, name="+".join(modalities), version=version, cache=cache, settings=EngineSettings(limits=limits)
        )
        engine.warm_up()
        return engine

    return make


@pytest.fixture(scope="module")
def clip(sample_clip) -> bytes:
    return sample_clip.read_bytes()


def test_other_options_weights_variants_versions_and_models_decode_nothing_again(make_engine, clip, monkeypatch):
    both = make_engine("video", "audio")
    assert both.detect_batch([Item(clip)])[0]["cache"] == "miss"
    monkeypatch.setattr(tracks, "Media", None)  # nothing can be opened any more
    (newer,) = make_engine("video", "audio", version="2.0").detect_batch([Item(clip)])
    assert newer["cache"] == "samples"
    assert newer["model"]["version"] == "2.0"
    assert set(newer["timings_s"]) == {"forward", "fuse"}
    others = [
        DetectOptions(threshold=0.1),
        DetectOptions(weights={"video": 1.0, "audio": 0.0}),
        DetectOptions(frames=10),  # the model's own number
        DetectOptions(modality="audio"),
        DetectOptions(require_face=True),
    ]
    answers = both.detect_batch([Item(clip, options=each) for each in others])
    assert [answer["cache"] for answer in answers] == ["samples"] * len(others)
    for engine in (make_engine("audio", variant="int8"), make_engine("video"), make_engine("video", variant="int8")):
        assert engine.detect_batch([Item(clip)])[0]["cache"] == "samples"


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        (DetectOptions(frames=3), Limits()),
        (DetectOptions(face_detector="haar"), Limits()),
        (DetectOptions(), Limits(max_duration_s=100)),
    ],
)
def test_what_changes_the_sample_is_decoded_again(make_engine, clip, options, limits):
    make_engine("video").detect_batch([Item(clip)])
    (answer,) = make_engine("video", limits=limits).detect_batch([Item(clip, options=options)])
    assert answer["cache"] == "miss"


def test_a_tighter_limit_is_not_passed_by_on_the_way_to_a_sample(make_engine, clip):
    make_engine("audio").detect_batch([Item(clip)])
    (refusal,) = make_engine("audio", limits=Limits(max_duration_s=1.0)).detect_batch([Item(clip)])
    assert refusal.code is ErrorCode.TOO_LONG


def test_remembered_samples_give_the_same_answer(make_engine, artifacts_dir, clip, tmp_path):
    fresh = load_engine({name: artifacts_dir / name for name in PREDICTORS}, device="cpu", variant="fp32", cache=None)
    fresh.name = "video+audio"
    engine = make_engine("video", "audio")
    picture = make_sample(tmp_path / "dumb.mp4", duration_s=2.0, audio_codec=None, face=False).read_bytes()
    options = DetectOptions(threshold=0.5, allow_no_face=True)
    damaged = make_sample(tmp_path / "damaged.mkv", duration_s=4.0, width=480, height=360).read_bytes()
    for data in (clip, picture, damaged[: len(damaged) * 2 // 3]):
        engine.detect_batch([Item(data, options=DetectOptions(allow_no_face=True))])
        (remembered,) = engine.detect_batch([Item(data, options=options)])
        assert remembered["cache"] == "samples"
        (decoded,) = fresh.detect_batch([Item(data, options=options)])
        assert {k: v for k, v in remembered.items() if k not in VOLATILE} == {
            k: v for k, v in decoded.items() if k not in VOLATILE
        }


def test_a_track_that_is_not_there_is_remembered_as_well(make_engine, tmp_path, monkeypatch):
    sound = make_sample(tmp_path / "sound.wav", duration_s=2.0, video_codec=None, audio_codec="pcm_s16le").read_bytes()
    engine = make_engine("video")
    first = engine.detect_batch([Item(sound)])[0]
    monkeypatch.setattr(tracks, "Media", None)
    second = engine.detect_batch([Item(sound)])[0]
    assert first.code is second.code is ErrorCode.NO_VIDEO_TRACK
    assert first.message == second.message


def test_what_may_pass_is_not_remembered(make_engine, clip, monkeypatch):
    engine = make_engine("video", "audio")

    def decode_in_no_time(*_):
        raise out_of_time(1.0)

    with monkeypatch.context() as patch:
        patch.setattr(engine.predictors["audio"], "sample", decode_in_no_time)
        (partial,) = engine.detect_batch([Item(clip)])  # from the picture alone: true now, but no answer to keep
    assert set(partial["modalities"]) == {"video"}
    (whole,) = engine.detect_batch([Item(clip)])
    assert set(whole["modalities"]) == {"video", "audio"}
    assert whole["cache"] == "miss"
