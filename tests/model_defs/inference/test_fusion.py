import pytest

from model_defs.inference.fusion import DEFAULT_WEIGHTS, fuse


def test_weighted_mean_by_hand():
    p_fake, shares = fuse({"video": 0.9, "audio": 0.4}, {"video": 3.0, "audio": 1.0})
    assert p_fake == pytest.approx(0.775)
    assert shares == {"video": 0.75, "audio": 0.25}


def test_a_modality_alone_has_all_the_weight():
    assert fuse({"audio": 0.3}, DEFAULT_WEIGHTS) == (pytest.approx(0.3), {"audio": 1.0})


def test_a_modality_without_a_weight_counts_one():
    assert fuse({"video": 1.0, "audio": 0.0}, {"video": 1.0})[0] == 0.5


@pytest.mark.parametrize("p_fakes", [{}, {"video": 0.5}])
def test_nothing_to_fuse_is_an_error(p_fakes):
    with pytest.raises(ValueError, match="weight above 0"):
        fuse(p_fakes, {"video": 0.0})
