from __future__ import annotations

import math

from deepdetect.live.cusum import CusumConfig
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


def test_the_command_prints_a_row_for_each_rate(audio_dataset, capsys):
    main([str(audio_dataset), "--modality", "audio", "--streams", "2"])
    told = capsys.readouterr().out
    assert "audio, val: 2 real and 2 fake clips" in told
    assert told.count("\n| ") == 5
