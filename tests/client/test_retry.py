from __future__ import annotations

import pytest

from client.errors import KeyRefused, RateLimited, ServerUnavailable
from client.retry import ONCE, Retry


class Flaky:
    """Fails as told, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.n_calls = 0
        self.pauses_s: list[float] = []

    def __call__(self) -> str:
        self.n_calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    def under(self, retry: Retry) -> str:
        return retry.call(self, sleep=self.pauses_s.append)


def test_pauses_double_up_to_a_bound():
    call = Flaky(*[ServerUnavailable("")] * 5)
    assert call.under(Retry(attempts=6, first_delay_s=1, max_delay_s=4, max_wait_s=100)) == "answer"
    for pause_s, longest_s in zip(call.pauses_s, (1, 2, 4, 4, 4), strict=True):
        assert longest_s / 2 <= pause_s <= longest_s


def test_the_last_error_is_raised():
    call = Flaky(*(ServerUnavailable(str(index)) for index in range(9)))
    with pytest.raises(ServerUnavailable, match="2"):
        call.under(Retry(attempts=3))
    assert call.n_calls == 3


def test_a_time_that_the_server_names_is_waited_for_and_a_little_longer():
    call = Flaky(RateLimited("", retry_after_s=7))
    assert call.under(Retry(first_delay_s=0.5)) == "answer"
    assert 7 <= call.pauses_s[0] <= 7.5


def test_a_time_beyond_patience_is_not_waited_for():
    call = Flaky(RateLimited("", retry_after_s=3600))
    with pytest.raises(RateLimited) as caught:
        call.under(Retry(max_wait_s=30))
    assert caught.value.retry_after_s == 3600
    assert call.pauses_s == []


def test_other_errors_are_not_tried_again():
    call = Flaky(KeyRefused(""))
    with pytest.raises(KeyRefused):
        call.under(Retry())
    assert call.n_calls == 1
    with pytest.raises(ServerUnavailable):
        Flaky(ServerUnavailable("")).under(ONCE)


@pytest.mark.parametrize("setting", [{"attempts": 0}, {"max_wait_s": -1}, {"first_delay_s": float("nan")}])
def test_impossible_settings_are_named(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        Retry(**setting)
