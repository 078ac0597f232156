import numpy as np
import pytest

from training.data.datasets import load_dataset, select
from training.self_vocode import main


def test_the_command_copies_real_train_clips_alone(audio_dataset, tmp_path, capsys):
    main(
        [str(audio_dataset), "--cache", str(tmp_path), "--vocoders", "mel", "--workers", "1", "--config", "mfcc_bigru"]
    )
    n_real = len([clip for clip in select(load_dataset(audio_dataset), "train") if clip.label == 0])
    assert f"{n_real} copies of {n_real} real train clips" in capsys.readouterr().out
    arrays = list(tmp_path.glob("audio-*/vocoded/*.npy"))
    assert len(arrays) == n_real
    assert all(np.isfinite(np.load(path)).all() for path in arrays)


def test_a_preset_of_faces_is_refused(audio_dataset, tmp_path):
    with pytest.raises(SystemExit, match="only sound can be vocoded"):
        main([str(audio_dataset), "--cache", str(tmp_path), "--config", "video"])
