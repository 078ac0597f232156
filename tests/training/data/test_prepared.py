"""Clips are decoded once, into what serving would see of them."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

import training.data.prepared as module
from model_defs.decoding.media import Media
from model_defs.preprocessing.face_detection import create_detector
from model_defs.preprocessing.video import video_sample
from model_defs.spec import AudioSpec, VideoSpec
from training.data.datasets import Clip, DatasetError, LeakError, load_dataset
from training.data.prepared import prepare, verify_fresh

VIDEO = VideoSpec(n_frames=4, size_px=32, face_detector="haar")


def quietly(clips, spec, cache_dir):
    return prepare(clips, spec, cache_dir, show_progress=False)


def test_crops_equal_those_of_serving_bit_for_bit(video_dataset, tmp_path):
    clips = load_dataset(video_dataset)
    for item in quietly(clips, VIDEO, tmp_path):
        with Media(item.clip.path) as media:
            served = video_sample(media.frames(n_frames=VIDEO.n_frames), VIDEO, create_detector("haar"))
        np.testing.assert_array_equal(item.array(), served.crops)
        assert list(item.starts_s) == served.times_s
        assert item.n_faces == served.n_faces


def test_waveforms_equal_those_of_serving(audio_dataset, tmp_path):
    spec = AudioSpec(window_s=0.2, max_windows=2)  # half a second is "long" to it: several segments
    for item in quietly(load_dataset(audio_dataset), spec, tmp_path):
        with Media(item.clip.path) as media:
            served = media.audio_segments(spec.rate_hz, spec.window_s, spec.max_windows)
        prepared = item.audio_segments()
        assert [segment.start_s for segment in prepared] == [segment.start_s for segment in served]
        for ours, theirs in zip(prepared, served, strict=True):
            np.testing.assert_array_equal(ours.samples, theirs.samples)


def test_nothing_is_decoded_twice_and_another_spec_is_decoded_anew(audio_dataset, tmp_path, monkeypatch):
    opened = []

    class CountedMedia(Media):
        def __init__(self, *arguments):
            opened.append(arguments[0])
            super().__init__(*arguments)

    monkeypatch.setattr(module, "Media", CountedMedia)
    clips = load_dataset(audio_dataset)
    quietly(clips[:5], AudioSpec(), tmp_path)
    assert len(opened) == 5  # as after an interruption: five are done
    quietly(clips, AudioSpec(), tmp_path)
    assert len(opened) == len(clips)
    quietly(clips, replace(AudioSpec(), window_s=2.0), tmp_path)
    assert len(opened) == 2 * len(clips)


def test_bad_clips_are_named_left_out_and_not_tried_again(audio_dataset, tmp_path, capsys):
    text, gone = tmp_path / "notes.wav", tmp_path / "gone.wav"
    text.write_text("this is no sound")
    clips = [*load_dataset(audio_dataset), Clip(text, 0, "notes", "train"), Clip(gone, 0, "gone", "train")]
    for _ in range(2):
        assert len(quietly(clips, AudioSpec(), tmp_path / "cache")) == len(clips) - 2
        told = capsys.readouterr().out
        assert f": {text}" in told
        assert f"unreadable_file: {gone}" in told
        assert f"left out 2 of {len(clips)} clips" in told
    with pytest.raises(DatasetError, match="none of the 2 clips"):
        quietly(clips[-2:], AudioSpec(), tmp_path / "cache")


def test_content_is_hashed_again_only_when_the_file_changed(audio_dataset, tmp_path, monkeypatch):
    clip = load_dataset(audio_dataset)[0]
    copy = tmp_path / "copy.wav"
    shutil.copy(clip.path, copy)
    clips = [replace(clip, path=copy)]
    first = quietly(clips, AudioSpec(), tmp_path / "cache")[0].array_path
    hashed = []
    digest = module.hashlib.file_digest
    monkeypatch.setattr(module.hashlib, "file_digest", lambda *args: hashed.append(1) or digest(*args))
    assert quietly(clips, AudioSpec(), tmp_path / "cache")[0].array_path == first
    assert not hashed
    shutil.copy(load_dataset(audio_dataset)[1].path, copy)
    assert quietly(clips, AudioSpec(), tmp_path / "cache")[0].array_path != first
    assert hashed


def test_same_bytes_in_two_splits_are_a_leak(audio_dataset, tmp_path):
    original = load_dataset(audio_dataset)[0]
    copy = tmp_path / "renamed.wav"
    shutil.copy(original.path, copy)
    with pytest.raises(LeakError, match="hold the same bytes"):
        quietly([original, replace(original, path=copy, group="another", split="val")], AudioSpec(), tmp_path)
    with pytest.raises(DatasetError, match="different labels"):
        quietly([original, replace(original, path=copy, label=1 - original.label)], AudioSpec(), tmp_path)


def test_stale_cache_is_found(audio_dataset, tmp_path):
    prepared = quietly(load_dataset(audio_dataset), AudioSpec(), tmp_path)
    verify_fresh(prepared, AudioSpec())
    np.save(prepared[0].array_path, prepared[0].array() * 0.5)
    with pytest.raises(DatasetError, match="prepared otherwise"):
        verify_fresh(prepared, AudioSpec())
