import pytest

from model_defs.limits import Limits


def test_what_is_left_out_keeps_its_default():
    assert Limits.from_dict({"max_bytes": 5}) == Limits(max_bytes=5)


@pytest.mark.parametrize("record", [{"max_bites": 5}, {"max_bytes": 0}, {"decode_budget_s": -1}])
def test_a_wrong_limit_is_named(record):
    with pytest.raises(ValueError, match=next(iter(record))):
        Limits.from_dict(record)
