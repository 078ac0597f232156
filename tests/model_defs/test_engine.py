"""The engine over the real models: each file of a batch stands or falls alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from client.sample import make_sample
from model_defs.engine import Engine, Item, load_engine
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from model_defs.options import DetectOptions
from model_defs.scorer import AudioScorer

VOLATILE = ("processing_time", "timestamp", "timings_s", "cache", "file_name")


@pytest.fixture(scope="module")
def engine(artifacts_dir) -> Engine:
    return load_engine({name: artifacts_dir / name for name in ("video", "audio")}, device="cpu", cache_items=0)


@pytest.fixture(scope="module")
def clip(sample_clip) -> bytes:
    return sample_clip.read_bytes()


def test_the_answer_is_the_contract(engine, clip):
    (answer,) = engine.detect_batch([Item(clip, "clip.mp4")])
    probabilities = answer["probabilities"]
    assert answer["prediction"] in ("Real", "Fake")
    assert answer["confidence"] == max(probabilities.values())
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert answer["file_name"] == "clip.mp4"
    assert answer["file_type"] == "video"
    assert answer["sha256"] == hashlib.sha256(clip).hexdigest()
    assert answer["cache"] == "off"
    assert answer["timestamp"].endswith("Z")
    video, audio = answer["modalities"]["video"], answer["modalities"]["audio"]
    assert video["frames"] == len(video["attention"]) == len(video["frame_times_s"]) == len(video["crops"]) == 10
    assert video["faces"] == 10
    assert sum(video["attention"]) == pytest.approx(1.0, abs=1e-4)
    assert audio["windows"] == len(audio["window_p_fake"]) == len(audio["window_starts_s"]) == 3
    assert video["weight"] + audio["weight"] == pytest.approx(1.0)
    fused = video["weight"] * video["p_fake"] + audio["weight"] * audio["p_fake"]
    assert probabilities["fake"] == pytest.approx(fused, abs=2e-6)
    assert set(answer["timings_s"]) == {"decode", "faces", "features", "forward"}
    assert all(seconds > 0 for seconds in answer["timings_s"].values())


def test_a_path_and_its_bytes_get_the_same_answer(engine, sample_clip, clip):
    by_path, by_bytes = engine.detect_batch([Item(sample_clip, "a"), Item(clip, "b")])
    assert _stable(by_path) == _stable(by_bytes)


def test_an_answer_does_not_depend_on_its_neighbours(engine, clip):
    (alone,) = engine.detect_batch([Item(clip)])
    crowd = engine.detect_batch([Item(b""), Item(clip), Item(b"no media"), Item(clip, options=DetectOptions(frames=3))])
    assert _stable(crowd[1]) == _stable(alone)
    assert crowd[0].code is ErrorCode.EMPTY_BODY
    assert crowd[2].code is ErrorCode.UNKNOWN_CONTAINER
    assert crowd[3]["modalities"]["video"]["frames"] == 3


def test_options_change_what_is_scored(engine, clip):
    options = [
        DetectOptions(modality="video"),
        DetectOptions(modality="audio"),
        DetectOptions(interval_s=2.0),
        DetectOptions(threshold=0.0),
        DetectOptions(threshold=1.0),
        DetectOptions(weights={"video": 0.0, "audio": 1.0}),
    ]
    video, audio, sparse, all_fake, none_fake, deaf = engine.detect_batch([Item(clip, options=o) for o in options])
    assert set(video["modalities"]) == {"video"}
    assert set(audio["modalities"]) == {"audio"}
    assert sparse["modalities"]["video"]["frames"] == 5
    assert (all_fake["prediction"], none_fake["prediction"]) == ("Fake", "Real")
    assert set(deaf["modalities"]) == {"audio"}


def test_a_model_refuses_a_modality_it_does_not_have(artifacts_dir, clip):
    engine = load_engine({"video": artifacts_dir / "video"}, name="video", device="cpu")
    (refusal,) = engine.detect_batch([Item(clip, options=DetectOptions(modality="audio"))])
    assert refusal.code is ErrorCode.BAD_OPTION
    assert "auto, video" in refusal.message


def test_limits_and_missing_files_are_refusals(artifacts_dir, clip, tmp_path):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu", limits=Limits(max_bytes=1_000))
    too_large, missing = engine.detect_batch([Item(clip), Item(tmp_path / "nowhere.mp4")])
    assert too_large.code is ErrorCode.TOO_LARGE
    assert "1000" in too_large.message
    assert missing.code is ErrorCode.UNREADABLE_FILE


def test_a_repeat_is_a_hit_with_the_same_verdict(artifacts_dir, clip):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu", cache_items=2)
    miss, hit = (engine.detect_batch([Item(clip, name)])[0] for name in ("first", "second"))
    assert (miss["cache"], hit["cache"]) == ("miss", "hit")
    assert _stable(miss) == _stable(hit)
    assert hit["file_name"] == "second"
    hit["modalities"].clear()  # what a caller does to an answer stays with that caller
    assert engine.detect_batch([Item(clip)])[0]["modalities"]


def test_a_failing_forward_pass_costs_the_culprit_only(artifacts_dir, clip, tmp_path):
    class Fragile(AudioScorer):
        def score(self, samples):
            if any(len(sample.starts_s) == 1 for sample in samples):
                raise RuntimeError("one window breaks this network")
            return super().score(samples)

    short = make_sample(tmp_path / "short.wav", duration_s=2.0, video_codec=None, audio_codec="pcm_s16le")
    engine = Engine({"audio": Fragile(artifacts_dir / "audio")})
    answers = engine.detect_batch([Item(clip), Item(clip), Item(short), Item(clip)])
    assert [isinstance(answer, DetectionError) for answer in answers] == [False, False, True, False]
    assert answers[2].code is ErrorCode.INTERNAL
    assert "one window" in answers[2].message


def test_serving_does_not_pay_for_what_only_training_needs(artifacts_dir):
    program = (
        "import sys; from model_defs.engine import load_engine;"
        f"load_engine({{'audio': {str(artifacts_dir / 'audio')!r}}}, device='cpu').warm_up();"
        "sys.exit(sorted({'torchvision', 'librosa', 'sklearn', 'matplotlib', 'training'} & sys.modules.keys()) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def _stable(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if key not in VOLATILE}
