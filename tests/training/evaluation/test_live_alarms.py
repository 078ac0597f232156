from __future__ import annotations

import math

import numpy as np
import pytest

from deepdetect.live.cusum import CusumConfig
from tests.clips import tone, write_audio
from training.evaluation.live_alarms import main, measure, seconds_of

CONFIG = CusumConfig(false_alarms_an_hour=1.0)


def test_streams_that_are_told_apart_have_no_false_alarm_and_every_switch_is_found():
    rates = measure([[0.1] * 5, [0.2] * 3], [[0.9] * 4], CONFIG, n_streams=5)
    assert rates.false_alarms_an_hour == 0
    assert rates.found_share == 1
    assert math.ceil(CONFIG.threshold / 2) <= rates.median_s <= 2 * CONFIG.threshold


def test_a_real_clip_that_is_always_taken_for_fake_is_a_false_alarm_in_every_hour():
    rates = measure([[0.1] * 5, [0.95] * 20], [[0.9] * 4], CONFIG, n_streams=3)
    assert rates.false_alarms_an_hour > 1


def test_forgeries_that_look_real_are_not_found():
    rates = measure([[0.1] * 5], [[0.1] * 5], CONFIG, n_streams=3)
    assert (rates.found_share, rates.false_alarms_an_hour) == (0, 0)
    assert math.isnan(rates.median_s)


def test_a_clip_is_scored_by_the_second(detector, sample_clip):
    assert len(seconds_of(sample_clip, detector, "video")) == 10


def test_the_command_prints_a_row_for_each_rate(tmp_path, capsys):
    rng = np.random.default_rng(1)
    for index in range(12):
        sound = tone(2.0, frequency_hz=200 + 20 * index, level=0.3) + 0.05 * rng.standard_normal(32_000)
        path = tmp_path / ("real", "fake")[index % 2] / f"{index}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write_audio(sound=sound.astype(np.float32), duration_s=2.0))
    main([str(tmp_path), "--modality", "audio", "--streams", "2"])
    told = capsys.readouterr().out
    assert "audio, val: 1 real and 1 fake clips, 2 and 2 s" in told
    assert told.count("\n| ") == 5
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--modality", "audio", "--split", "test"])
    assert "test holds 0 real and 0 fake clips" in capsys.readouterr().err
