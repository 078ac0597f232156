"""Damage of a stated level is of that level, and gives a file that can be read."""

from __future__ import annotations

import numpy as np
import pytest

from model_defs.decoding.media import Media
from tests.clips import tone, write_audio, write_clip
from training.augmentation.audio_codecs import decode
from training.evaluation.degradations import DEGRADATIONS, Degradation


def pick(modality: str, axis: str, level: float) -> Degradation:
    return next(one for one in DEGRADATIONS[modality](quick=False) if one.axis.startswith(axis) and one.level == level)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    path.write_bytes(write_clip(duration_s=1.0, size=(96, 64), audio_codec="aac"))
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "sound.wav"
    path.write_bytes(write_audio(sound=tone(1.0, level=0.3), duration_s=1.0))
    return path


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_every_level_gives_a_file_that_serving_can_read(modality, quick, clip, sound):
    for degradation in DEGRADATIONS[modality](quick=quick):
        with Media(degradation(clip if modality == "video" else sound, seed=0)) as media:
            if modality == "video":
                assert len(media.frames(n_frames=5)) == 5
                assert media.duration_s == pytest.approx(1.0, abs=0.05)
            else:
                assert media.audio_segments(16_000, 4.0, 8)


def test_quick_is_a_part_of_the_axes():
    for make in DEGRADATIONS.values():
        assert {one.axis for one in make(quick=True)} == {one.axis for one in make(quick=False)}
        assert len(make(quick=True)) < len(make(quick=False))


def test_a_higher_crf_leaves_fewer_bytes(clip):
    sizes = [len(pick("video", "H.264", crf)(clip, seed=0)) for crf in (23, 34, 46)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


def test_height_is_cut_to_its_share(clip):
    with Media(pick("video", "height", 0.5)(clip, seed=0)) as media:
        assert media.frames(n_frames=1)[0].image.shape == (32, 48, 3)


def test_noise_has_its_ratio_and_its_seed(sound):
    degradation = pick("audio", "noise", 10)
    clean, noisy = decode(str(sound), 16_000), decode(degradation(sound, seed=3), 16_000)
    ratio = np.mean(clean**2) / np.mean((noisy - clean) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=0.2)
    assert degradation(sound, seed=3) == degradation(sound, seed=3) != degradation(sound, seed=4)


def test_colours_survive_the_jpeg(clip):
    with Media(pick("video", "JPEG", 75)(clip, seed=0)) as media:
        red, green, blue = media.frames(n_frames=1)[0].image[2:8, 10:80].reshape(-1, 3).mean(0)
    assert red > 150 > 100 > max(green, blue)
