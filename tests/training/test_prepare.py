import pytest

from training import prepare


def test_command_prepares_a_folder_and_sums_up(audio_dataset, tmp_path, capsys):
    prepare.main([str(audio_dataset), "--config", "mfcc_gru_light", "--cache", str(tmp_path), "--workers", "1"])
    told = capsys.readouterr().out
    assert "12 of 12 clips are prepared" in told
    assert "val        2 real      2 fake      4 groups" in told
    with pytest.raises(SystemExit, match="none of the forms looked for"):
        prepare.main([str(tmp_path), "--modality", "audio"])
