"""The metadata baseline sees what a file is like, not what it shows."""

from __future__ import annotations

import numpy as np

from tests.clips import tone, write_audio, write_clip
from tests.training.conftest import write_dataset
from training.evaluation.metadata_baseline import describe, main


def test_a_class_that_is_merely_louder_is_told_by_the_metadata(tmp_path, capsys):
    def make_clip(index: int, label: int) -> bytes:
        sound = tone(0.5, frequency_hz=200 + 40 * index) * (0.8 if label else 0.1)
        return write_audio(sound=sound.astype(np.float32), duration_s=0.5)

    dataset = write_dataset(tmp_path, ".wav", make_clip, n_train=24, n_val=8)
    main([str(dataset), "--modality", "audio"])
    assert capsys.readouterr().out.startswith("val   auc 1.000")


def test_a_video_is_described_by_its_form(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(write_clip(times_s=[frame / 10 for frame in range(10)]))
    width, height, fps, seconds, bits_a_pixel, has_sound = describe(path, "video")
    assert width > 0 < height
    assert 5 < fps < 31
    assert 0.5 < seconds < 1.5
    assert bits_a_pixel > 0
    assert has_sound in (0.0, 1.0)
