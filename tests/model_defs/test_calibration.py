import numpy as np
import pytest

from model_defs.calibration import Calibration

LOGITS = np.array([[0.0, 0.0], [2.0, -1.0], [-1.0, 3.0]])


def test_without_scaling_it_is_the_softmax():
    softmax = np.exp(LOGITS)[:, 1] / np.exp(LOGITS).sum(axis=1)
    np.testing.assert_allclose(Calibration().p_fake(LOGITS), softmax, atol=1e-12)


def test_temperature_makes_milder_and_keeps_the_order():
    sharp, mild = Calibration().p_fake(LOGITS), Calibration(temperature=3.0).p_fake(LOGITS)
    assert (np.abs(mild - 0.5) <= np.abs(sharp - 0.5)).all()
    assert (np.argsort(mild) == np.argsort(sharp)).all()


def test_bias_moves_towards_fake():
    assert (Calibration(bias=1.0).p_fake(LOGITS) > Calibration().p_fake(LOGITS)).all()


def test_huge_logits_do_not_overflow():
    with np.errstate(all="raise"):
        p_fake = Calibration().p_fake(np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=np.float32))
    np.testing.assert_array_equal(p_fake, [0.0, 1.0])


@pytest.mark.parametrize("field", [{"temperature": 0.0}, {"temperature": -1.0}, {"threshold": 1.5}])
def test_impossible_values_are_refused_by_name(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        Calibration(**field)


def test_it_survives_a_round_trip():
    calibration = Calibration(1.5, -0.2, 0.4)
    assert Calibration(**calibration.to_dict()) == calibration


def test_pooling_rules():
    clip, frames = np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(Calibration().pool(clip, frames), clip)
    np.testing.assert_array_equal(Calibration(pooling="max").pool(clip, frames), [[0.0, 3.0]])
    np.testing.assert_array_equal(Calibration(pooling="top_third").pool(clip, frames), [[0.0, 2.0]])
    np.testing.assert_array_equal(Calibration(pooling="max").pool(clip, None), clip)
    with pytest.raises(ValueError, match="pooling"):
        Calibration(pooling="median")
