"""The engine over the real models: each file of a batch stands or falls alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from model_defs.caching.detection_cache import DetectionCache
from model_defs.caching.settings import CacheSettings
from model_defs.decoding.media import Media
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.audio_predictor import AudioPredictor
from model_defs.inference.engine import Engine, Item, load_engine
from model_defs.inference.options import EXPLANATION_PARTS, DetectOptions
from model_defs.inference.settings import EngineSettings
from model_defs.limits import Limits
from model_defs.preprocessing.face_detection import YUNET_VARIABLE
from samples.clip import make_sample
from tests.clips import with_tracks, write_audio, write_clip

VOLATILE = ("processing_time", "timestamp", "timings_s", "cache", "file_name")


@pytest.fixture(scope="module")
def engine(artifacts_dir) -> Engine:
    return load_engine({name: artifacts_dir / name for name in ("video", "audio")}, device="cpu", cache=None)


@pytest.fixture(scope="module")
def clip(sample_clip) -> bytes:
    return sample_clip.read_bytes()


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> bytes:
    """Two seconds of speech."""
    path = tmp_path_factory.mktemp("short") / "short.wav"
    return make_sample(path, duration_s=2.0, video_codec=None, audio_codec="pcm_s16le").read_bytes()


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
    assert set(answer["timings_s"]) == {"decode", "faces", "features", "forward", "fuse"}
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
    engine = load_engine(
        {"audio": artifacts_dir / "audio"}, device="cpu", settings=EngineSettings(limits=Limits(max_bytes=1_000))
    )
    too_large, missing = engine.detect_batch([Item(clip), Item(tmp_path / "nowhere.mp4")])
    assert too_large.code is ErrorCode.TOO_LARGE
    assert "1000" in too_large.message
    assert missing.code is ErrorCode.UNREADABLE_FILE


def test_a_repeat_is_a_hit_with_the_same_verdict(artifacts_dir, clip):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu")
    miss, hit = (engine.detect_batch([Item(clip, name)])[0] for name in ("first", "second"))
    assert (miss["cache"], hit["cache"]) == ("miss", "hit")
    assert _stable(miss) == _stable(hit)
    assert hit["file_name"] == "second"
    hit["modalities"].clear()  # what a caller does to an answer stays with that caller
    assert engine.detect_batch([Item(clip)])[0]["modalities"]


def test_identical_files_of_a_batch_are_computed_once(artifacts_dir, clip, monkeypatch):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu")
    decoded = count_decoded(engine.predictors["audio"], monkeypatch)
    answers = engine.detect_batch([Item(clip, "a"), Item(clip, "b"), Item(clip + b"", "c")])
    assert len(decoded) == 1
    assert [answer["cache"] for answer in answers] == ["miss", "hit", "hit"]
    assert [answer["file_name"] for answer in answers] == ["a", "b", "c"]
    assert _stable(answers[0]) == _stable(answers[1])
    answers[0]["modalities"].clear()
    assert answers[1]["modalities"]


def test_identical_requests_in_flight_wait_for_the_first(artifacts_dir, clip, monkeypatch):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu")
    decoded = count_decoded(engine.predictors["audio"], monkeypatch, delay_s=0.3)
    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda name: engine.detect_batch([Item(clip, name)])[0], "abcdef"))
    assert len(decoded) == 1
    assert sorted(answer["cache"] for answer in answers) == ["hit"] * 5 + ["miss"]
    assert "".join(answer["file_name"] for answer in answers) == "abcdef"


def test_a_rebuilt_version_does_not_answer_from_the_old_one(artifacts_dir, clip):
    cache = DetectionCache(CacheSettings(store="memory"))
    predictors = {"audio": AudioPredictor(artifacts_dir / "audio")}
    engines = [Engine(predictors, name="audio", build=build, cache=cache) for build in ("one", "two", "one")]
    assert [engine.detect_batch([Item(clip)])[0]["cache"] for engine in engines] == ["miss", "samples", "hit"]


def test_a_fault_of_ours_is_not_remembered(artifacts_dir, clip, monkeypatch):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu")

    def fail(*_):
        raise RuntimeError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(engine.predictors["audio"], "score", fail)
        assert engine.detect_batch([Item(clip)])[0].code is ErrorCode.INTERNAL
    assert engine.detect_batch([Item(clip)])[0]["prediction"]


def test_a_file_that_hangs_is_refused_and_its_neighbours_are_answered(artifacts_dir, clip, short, monkeypatch):
    limits = Limits(decode_budget_s=0.5)
    engine = load_engine(
        {"audio": artifacts_dir / "audio"}, device="cpu", settings=EngineSettings(limits=limits, decode_grace_s=0.5)
    )
    engine.warm_up()
    release = threading.Event()
    decode = engine.predictors["audio"].sample

    def hang_on_short_files(media, options):
        if media.duration_s < 3:
            release.wait(60)
        return decode(media, options)

    monkeypatch.setattr(engine.predictors["audio"], "sample", hang_on_short_files)
    try:
        answers = engine.detect_batch([Item(clip), Item(short), Item(clip, options=DetectOptions(threshold=0.3))])
        assert answers[1].code is ErrorCode.DECODE_TIMEOUT
        assert "decode_budget_s" in answers[1].message
        assert [answer["prediction"] in ("Real", "Fake") for answer in (answers[0], answers[2])] == [True, True]
        assert engine.n_stuck == 1
        again = engine.detect_batch([Item(clip, options=DetectOptions(threshold=0.4)), Item(short)])
        assert again[0]["cache"] == "samples"  # the pool has its threads again
        assert again[1].code is ErrorCode.DECODE_TIMEOUT  # and that was not remembered
        assert engine.n_stuck == 2
    finally:
        release.set()


def test_a_file_that_is_really_slow_is_refused_in_time(artifacts_dir, clip):
    limits = Limits(decode_budget_s=0.02)
    engine = load_engine(
        {"video": artifacts_dir / "video"}, device="cpu", settings=EngineSettings(limits=limits, decode_grace_s=0.0)
    )
    engine.warm_up()
    slow, text = engine.detect_batch([Item(clip, options=DetectOptions(frames=64)), Item(b"no media")])
    assert slow.code is ErrorCode.DECODE_TIMEOUT
    assert text.code is ErrorCode.UNKNOWN_CONTAINER


def test_a_failing_forward_pass_costs_the_culprit_only(artifacts_dir, clip, short, caplog):
    class Fragile(AudioPredictor):
        def score(self, samples):
            if any(len(sample.starts_s) == 1 for sample in samples):
                raise RuntimeError("one window breaks this network")
            return super().score(samples)

    engine = Engine({"audio": Fragile(artifacts_dir / "audio")})
    answers = engine.detect_batch([Item(clip), Item(clip), Item(short), Item(clip)])
    assert [isinstance(answer, DetectionError) for answer in answers] == [False, False, True, False]
    assert answers[2].code is ErrorCode.INTERNAL
    assert "one window" not in answers[2].message  # which may hold what is nobody's business: it is in the log
    fault_id = answers[2].message.rpartition(" ")[2]
    assert any(fault_id in record.message and "one window" in record.exc_text for record in caplog.records)


def test_a_fused_verdict_is_cut_at_the_engine_s_threshold_and_a_single_one_at_its_model_s(artifacts_dir, clip):
    paths = {modality: artifacts_dir / modality for modality in ("video", "audio")}
    engine = load_engine(paths, device="cpu", settings=EngineSettings(fusion_threshold=1.0))
    options = [DetectOptions(), DetectOptions(modality="audio"), DetectOptions(threshold=0.0)]
    fused, alone, asked = engine.detect_batch([Item(clip, options=each) for each in options])
    assert (fused["prediction"], fused["threshold"]) == ("Real", 1.0)
    assert alone["threshold"] == engine.predictors["audio"].calibration.threshold != 1.0
    assert (asked["prediction"], asked["threshold"]) == ("Fake", 0.0)


def test_an_answer_says_that_it_is_uncertain_only_when_asked(engine, clip):
    (plain,) = engine.detect_batch([Item(clip)])
    p_fake = plain["probabilities"]["fake"]
    assert "uncertain" not in plain
    bands = {0.01: True, 0.0099: False}  # of a threshold that lies 0.01 above: the edge belongs to the band
    options = [DetectOptions(threshold=round(p_fake + 0.01, 6), uncertain_band=band) for band in bands]
    answers = engine.detect_batch([Item(clip, options=each) for each in options])
    for answer, uncertain in zip(answers, bands.values(), strict=True):
        assert (answer["prediction"], answer["uncertain"]) == ("Real", uncertain)
    (above,) = engine.detect_batch([Item(clip, options=DetectOptions(threshold=p_fake - 0.01, uncertain_band=0.2))])
    assert (above["prediction"], above["uncertain"]) == ("Fake", True)


def test_an_explained_answer_is_the_plain_one_and_more(engine, clip):
    asked = Item(clip, options=DetectOptions(explain=EXPLANATION_PARTS))
    (plain,) = engine.detect_batch([Item(clip)])
    neighbour, explained, refused = engine.detect_batch([Item(clip), asked, Item(b"no media", options=asked.options)])
    assert _stable(neighbour) == _stable(plain)
    assert set(explained["explanation"]) == {"video", "audio"}
    assert {key: value for key, value in _stable(explained).items() if key != "explanation"} == _stable(plain)
    assert refused.code is ErrorCode.UNKNOWN_CONTAINER
    assert "explain" in explained["timings_s"]
    json.dumps(explained, allow_nan=False)


def test_gradients_go_through_fp32_whatever_is_served(artifacts_dir, clip):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu", variant="int8")
    predictor = engine.predictors["audio"]
    engine.detect_batch([Item(clip)])
    assert predictor._fp32 is None  # no request pays for it that did not ask
    (answer,) = engine.detect_batch([Item(clip, options=DetectOptions(explain=("heatmap",)))])
    loaded = predictor.fp32
    engine.detect_batch([Item(clip, options=DetectOptions(explain=("heatmap",)))])
    assert predictor.fp32 is loaded
    assert answer["model"]["variant"] == "int8"
    assert answer["explanation"]["audio"]["variant"] == "fp32"


def test_a_verdict_that_cannot_be_explained_still_stands(artifacts_dir, clip):
    engine = load_engine({"audio": artifacts_dir / "audio" / "int8.pt"}, device="cpu", cache=None)
    (answer,) = engine.detect_batch([Item(clip, options=DetectOptions(explain=EXPLANATION_PARTS))])
    assert answer["prediction"] in ("Real", "Fake")
    assert answer["explanation"] == {}
    assert "audio was not explained" in answer["warnings"][0]


def test_a_batch_that_explains_for_too_long_stops_explaining(artifacts_dir, clip):
    engine = load_engine(
        {"audio": artifacts_dir / "audio"}, device="cpu", settings=EngineSettings(explain_budget_s=0.0)
    )
    asked = Item(clip, options=DetectOptions(explain=("scores",)))
    for _ in range(2):  # and what was cut short is not remembered
        (answer,) = engine.detect_batch([asked])
        assert answer["explanation"] == {}
        assert answer["cache"] != "hit"
        assert "explain_budget_s" in answer["warnings"][-1]


def test_pictures_are_not_kept_but_numbers_are(artifacts_dir, clip):
    engine = load_engine({"audio": artifacts_dir / "audio"}, device="cpu")
    outcomes = {
        parts: [engine.detect_batch([Item(clip, options=DetectOptions(explain=parts))])[0] for _ in range(2)]
        for parts in (("scores",), EXPLANATION_PARTS, ())
    }
    assert [answer["cache"] for answer in outcomes["scores",]] == ["miss", "hit"]
    assert [answer["cache"] for answer in outcomes[EXPLANATION_PARTS]] == ["samples", "samples"]
    assert outcomes["scores",][0]["explanation"] == outcomes["scores",][1]["explanation"]
    assert "explanation" not in outcomes[()][1]


def test_serving_does_not_pay_for_what_only_training_needs(artifacts_dir):
    program = (
        "import sys; from model_defs.inference.engine import load_engine;"
        f"load_engine({{'audio': {str(artifacts_dir / 'audio')!r}}}, device='cpu').warm_up();"
        "sys.exit(sorted({'torchvision', 'librosa', 'sklearn', 'matplotlib', 'training'} & sys.modules.keys()) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def count_decoded(predictor, monkeypatch, delay_s: float = 0.0) -> list[str]:
    """A list that grows by one for each file that the predictor decodes."""
    decoded: list[str] = []
    decode = predictor.sample

    def sample(media, options):
        decoded.append(media.container)
        time.sleep(delay_s)
        return decode(media, options)

    monkeypatch.setattr(predictor, "sample", sample)
    return decoded


def _stable(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if key not in VOLATILE}


def test_a_bad_option_is_refused_whatever_the_other_track_would_give(engine, clip, monkeypatch):
    monkeypatch.delenv(YUNET_VARIABLE, raising=False)
    (refusal,) = engine.detect_batch([Item(clip, options=DetectOptions(face_detector="yunet"))])
    assert isinstance(refusal, DetectionError)
    assert refusal.code is ErrorCode.BAD_OPTION


@pytest.fixture(scope="module")
def faceless(tmp_path_factory) -> bytes:
    """A cup of coffee, and speech."""
    path = tmp_path_factory.mktemp("faceless") / "coffee.mp4"
    return make_sample(path, duration_s=2.0, width=480, height=360, face=False).read_bytes()


def test_a_clip_without_a_face_has_no_video_score(engine, faceless):
    (answer,) = engine.detect_batch([Item(faceless)])
    video, audio = answer["modalities"]["video"], answer["modalities"]["audio"]
    assert (video["face"], video["p_fake"], video["weight"]) == ("none", None, 0.0)
    assert audio["weight"] == 1.0
    assert answer["probabilities"]["fake"] == audio["p_fake"]
    assert "no_face" in answer["warning_codes"]
    assert len(answer["warnings"]) == len(answer["warning_codes"])
    (scored,) = engine.detect_batch([Item(faceless, options=DetectOptions(allow_no_face=True))])
    assert scored["modalities"]["video"]["face"] == "none"
    assert 0 <= scored["modalities"]["video"]["p_fake"] <= 1
    (refusal,) = engine.detect_batch([Item(faceless, options=DetectOptions(modality="video"))])
    assert refusal.code is ErrorCode.NO_FACE


def test_frames_without_a_face_do_not_vote(engine, tmp_path):
    face = make_sample(tmp_path / "face.mp4", duration_s=3.0, width=480, height=360, fps=10, audio_codec=None)
    with Media(face) as media:
        frames = media.frames(n_frames=10)
    card = np.full_like(frames[0].image, (32, 48, 96))
    images = [card] * 10 + [frame.image for frame in frames]
    mixed, alone = (
        write_clip(images=part, size=(480, 360), fps=4, gop=1, options={"crf": "4"}) for part in (images, images[10:])
    )
    options = DetectOptions(modality="video", frames=20)
    answer, expected = engine.detect_batch([Item(mixed, options=options), Item(alone, options=DetectOptions("video"))])
    video = answer["modalities"]["video"]
    assert (video["frames"], video["faces"]) == (20, 10)
    assert video["crops"][:10] == ["none"] * 10
    assert video["frame_p_fake"][:10] == [None] * 10
    assert answer["probabilities"]["fake"] == pytest.approx(expected["probabilities"]["fake"], abs=0.03)
    assert "some_faces" in answer["warning_codes"]


def test_every_face_is_scored_and_the_most_suspicious_is_the_verdict(engine, tmp_path):
    face = make_sample(tmp_path / "face.mp4", duration_s=2.0, width=480, height=360, fps=10, audio_codec=None)
    with Media(face) as media:
        frames = [frame.image for frame in media.frames(n_frames=10)]
    small = [np.pad(cv2.resize(image, (408, 306)), ((0, 54), (0, 72), (0, 0))) for image in frames]
    pair = write_clip(images=[np.hstack(both) for both in zip(frames, small, strict=True)], size=(960, 360), fps=5)
    (answer,) = engine.detect_batch([Item(pair, options=DetectOptions("video"))])
    video = answer["modalities"]["video"]
    assert video["faces_seen"] == len(video["tracks"]) == 2
    assert video["p_fake"] == max(track["p_fake"] for track in video["tracks"])
    assert video["tracks"][video["track"]]["p_fake"] == video["p_fake"]
    first, second = (track["box"] for track in video["tracks"])
    assert first[2] <= 480 <= second[0]  # one each side of the seam
    assert "several_faces" in answer["warning_codes"]
    assert answer["modalities"]["video"]["boxes"][0][0] == pytest.approx(
        video["tracks"][video["track"]]["box"][0], abs=40
    )


def test_scores_are_told_by_the_second(engine, clip):
    (answer,) = engine.detect_batch([Item(clip, options=DetectOptions(threshold=0.0))])
    for modality in ("video", "audio"):
        scores = answer["modalities"][modality]["scores"]
        assert [score["start_s"] for score in scores] == list(range(10))
    assert [(segment["modality"], segment["start_s"], segment["end_s"]) for segment in answer["segments"]] == [
        ("video", 0, 10),
        ("audio", 0, 10),
    ]


def test_what_is_unlike_training_weighs_less(engine, clip):
    (answer,) = engine.detect_batch([Item(clip)])
    video = answer["modalities"]["video"]
    assert video["anomaly"]["percentile"] >= 99  # a photograph that pans
    assert video["weight"] < 0.6
    assert "ood_video" in answer["warning_codes"]


def test_a_silent_default_track_leaves_the_verdict_to_the_next(engine, short):
    silent = write_audio("ipod", "aac", sound=np.zeros(32_000, np.float32))
    with Media(short) as media:
        (speech,) = media.audio_segments(16_000, 4.0, 8)
    spoken = write_audio("ipod", "aac", sound=speech.samples)
    both, alone = engine.detect_batch([Item(with_tracks(silent, spoken)), Item(spoken)])
    audio = both["modalities"]["audio"]
    assert (audio["track"], audio["tracks"]) == (1, 2)
    assert audio["p_fake"] == pytest.approx(alone["modalities"]["audio"]["p_fake"], abs=0.01)
    assert "several_tracks" in both["warning_codes"]


def test_each_caller_is_scored_and_the_most_suspicious_named(engine, short):
    with Media(short) as media:
        (speech,) = media.audio_segments(16_000, 4.0, 8)
    voice = speech.samples
    noise = np.random.default_rng(0).normal(0, 0.05, len(voice)).astype(np.float32)
    noise *= np.repeat(np.arange(len(noise) // 1_600 + 1) % 2, 1_600)[: len(noise)] + 0.01
    call = write_audio("wav", "pcm_s16le", sound=np.stack([voice, noise]), n_channels=2)
    left, right, both = engine.detect_batch(
        [Item(write_audio("wav", "pcm_s16le", sound=part)) for part in (voice, noise)] + [Item(call)]
    )
    audio = both["modalities"]["audio"]
    scores = {one["channels"]: one["p_fake"] for one in audio["voices"]}
    assert scores["FL"] == pytest.approx(left["modalities"]["audio"]["p_fake"], abs=0.01)
    assert scores["FR"] == pytest.approx(right["modalities"]["audio"]["p_fake"], abs=0.01)
    assert audio["p_fake"] == max(scores.values()) == scores[audio["channels"]]
    assert "several_voices" in both["warning_codes"]
    (explained,) = engine.detect_batch([Item(call, options=DetectOptions(explain=("scores",)))])
    assert len(explained["explanation"]["audio"]["window_p_fake"]) == audio["windows"]


def test_digital_silence_moves_no_verdict(engine, tmp_path):
    for seed in range(4):
        path = make_sample(tmp_path / f"{seed}.wav", 5.0, video_codec=None, audio_codec="pcm_s16le", seed=seed)
        with Media(path) as media:
            (whole,) = media.audio_segments(16_000, 4.0, 8)
        sound = whole.samples + np.random.default_rng(seed).normal(0, 1e-3, len(whole.samples)).astype(np.float32)
        gap = np.zeros(4_800, np.float32)
        kinds = [sound, np.concatenate([sound[:40_000], gap, sound[40_000:]]), np.concatenate([gap, sound, gap[:704]])]
        answers = engine.detect_batch([Item(write_audio("flac", "flac", sound=kind)) for kind in kinds])
        p_fakes = [answer["probabilities"]["fake"] for answer in answers]
        assert max(p_fakes) - min(p_fakes) < 0.03
