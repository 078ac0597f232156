import numpy as np
import pytest

from training import prepare
from training.data.datasets import load_dataset, select


def test_command_prepares_a_folder_and_sums_up(audio_dataset, tmp_path, capsys):
    prepare.main([str(audio_dataset), "--config", "mfcc_gru_light", "--cache", str(tmp_path), "--workers", "1"])
    told = capsys.readouterr().out
    assert "12 of 12 clips are prepared" in told
    assert "val        2 real      2 fake      4 groups" in told
    with pytest.raises(SystemExit, match="none of the forms looked for"):
        prepare.main([str(tmp_path), "--modality", "audio"])


def test_vocoders_copy_real_train_clips_alone(audio_dataset, tmp_path, capsys):
    arguments = ["--cache", str(tmp_path), "--vocoders", "mel", "--workers", "1", "--config", "mfcc_bigru"]
    prepare.main([str(audio_dataset), *arguments])
    n_real = len([clip for clip in select(load_dataset(audio_dataset), "train") if clip.label == 0])
    assert f"{n_real} copies of {n_real} real train clips" in capsys.readouterr().out
    arrays = list(tmp_path.glob("audio-*/vocoded/*.npy"))
    assert len(arrays) == n_real
    assert all(np.isfinite(np.load(path)).all() for path in arrays)


def test_faces_cannot_be_vocoded(audio_dataset, tmp_path):
    with pytest.raises(SystemExit, match="only sound can be vocoded"):
        prepare.main([str(audio_dataset), "--cache", str(tmp_path), "--config", "video", "--vocoders", "mel"])
