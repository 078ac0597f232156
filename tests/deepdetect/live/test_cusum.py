from __future__ import annotations

import math

import numpy as np
import pytest

from deepdetect.live.cusum import LLR_CEILING, Cusum, CusumConfig

CONFIG = CusumConfig(false_alarms_an_hour=3_600 * math.exp(-5))  # a threshold of 5
REAL, FAKE = 0.2, 0.9


def changes(scores, config=CONFIG) -> dict[int, str]:
    cusum = Cusum(config)
    found = {second: cusum.update(p_fake) for second, p_fake in enumerate(scores)}
    return {second: change for second, change in found.items() if change}


def test_a_switch_to_fake_raises_one_alarm_and_the_switch_back_clears_it():
    assert CONFIG.threshold == pytest.approx(5)
    found = changes([REAL] * 30 + [FAKE] * 30 + [REAL] * 30)
    assert list(found.values()) == ["alarm", "all_clear"]
    alarm, clear = found
    assert 30 < alarm < 34
    assert 60 < clear < 66


def test_an_undecided_detector_raises_nothing():
    assert changes(0.5 + 0.05 * np.sin(np.arange(7_200))) == {}


@pytest.mark.parametrize("p_fake", [1.0, 0.999999])
def test_no_single_second_raises_an_alarm(p_fake):
    found = changes([REAL] * 10 + [p_fake] + [REAL] * 10)
    assert found == {}
    assert CONFIG.threshold > LLR_CEILING


def test_fewer_false_alarms_take_longer():
    firsts = [min(changes([FAKE] * 100, CusumConfig(rate))) for rate in (60.0, 1.0, 0.01)]
    assert firsts == sorted(firsts)
    assert firsts[0] < firsts[-1]


def test_false_alarms_on_exact_ratios_stay_below_the_rate_that_was_asked_for():
    rng = np.random.default_rng(1)
    # Real seconds of a calibrated detector: the margin is normal with mean -m/2 and variance m, whose ratio is itself.
    margins = rng.normal(-0.5, 1.0, 20 * 3_600)
    found = changes(1 / (1 + np.exp(-margins)), CusumConfig(false_alarms_an_hour=6.0))
    assert list(found.values()).count("alarm") <= 6 * 20


@pytest.mark.parametrize(("field", "value"), [("false_alarms_an_hour", 0.0), ("drift", -1.0)])
def test_what_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        CusumConfig(**{field: value})
