"""Pairs keep class, split and content; fitted weights find the modality that knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_defs.decoding.media import Media
from tests.clips import tone, write_audio, write_clip
from training.augmentation.audio_codecs import decode
from training.data.clip import Clip
from training.evaluation.av_pairs import Pair, PairScores, fit_weights, make_pairs, mux


def clips(kind: str, n: int, split: str = "val") -> list[Clip]:
    return [Clip(Path(f"{kind}_{index}"), index % 2, f"{kind} {index}", split) for index in range(n)]


def test_pairs_keep_class_and_split_and_use_each_sound_before_any_twice():
    videos, sounds = clips("v", 12) + clips("w", 4, "test"), clips("s", 8) + clips("t", 4, "test")
    pairs = make_pairs(videos, sounds)
    assert len(pairs) == len(videos)
    assert all(pair.video.label == pair.audio.label and pair.video.split == pair.audio.split for pair in pairs)
    used = [pair.audio for pair in pairs if pair.video.split == "val" and pair.label == 1]
    assert len(set(used)) == 4
    assert make_pairs(videos[::-1], sounds[::-1]) == pairs


def test_a_class_that_only_one_side_has_gives_no_pair():
    assert {pair.label for pair in make_pairs(clips("v", 4), [clip for clip in clips("s", 4) if clip.label])} == {1}


def test_muxed_file_holds_picture_and_sound_as_they_were(tmp_path):
    video, sound = tmp_path / "v.mp4", tmp_path / "s.flac"
    video.write_bytes(write_clip(duration_s=1.0, audio_codec="aac"))  # its own sound must not come along
    sound.write_bytes(write_audio("flac", "flac", sound=tone(1.0, frequency_hz=300), duration_s=1.0))
    muxed = mux(video, sound)
    np.testing.assert_array_equal(decode(muxed, 16_000), decode(str(sound), 16_000))
    with Media(muxed) as media, Media(video) as original:
        assert media.video
        assert media.audio
        for found, expected in zip(media.frames(n_frames=4), original.frames(n_frames=4), strict=True):
            np.testing.assert_array_equal(found.image, expected.image)


@pytest.mark.parametrize("knows", ["video", "audio"])
def test_fitted_weights_trust_the_modality_that_knows(knows):
    rng = np.random.default_rng(0)
    pairs = tuple(Pair(clip, clip) for clip in clips("v", 400))
    labels = np.array([pair.label for pair in pairs])
    good = np.where(rng.random(400) < 0.9, labels, 1 - labels) * 0.8 + 0.1
    noise = rng.uniform(0.1, 0.9, 400)
    p_fakes = {"video": good, "audio": noise} if knows == "video" else {"video": noise, "audio": good}
    weights = fit_weights(PairScores(pairs, p_fakes))
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights[knows] > 0.8
