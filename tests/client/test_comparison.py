from __future__ import annotations

import json
import math

import pytest

from client.comparison import Comparison, Outcome, Pair, Thresholds, quantile
from client.reply import Reply


def judged(p_fake: float, latency_s: float = 0.1, **more) -> Outcome:
    return Outcome("Fake" if p_fake >= 0.5 else "Real", p_fake, latency_s, **more)


REFUSED = Outcome("no_audio_track", None, 0.01)
FAILED = Outcome("ServerUnavailable", None, 9.0, failed=True)


def compared(*pairs: tuple[Outcome, Outcome]) -> Comparison:
    return Comparison("1.0", "2.0", [Pair(f"{index}.wav", *pair) for index, pair in enumerate(pairs)])


def test_the_figures_of_a_comparison():
    result = compared(
        (judged(0.2, 0.10), judged(0.3, 0.20)),
        (judged(0.4, 0.20), judged(0.9, 0.40)),
        (judged(0.8, 0.30), judged(0.8, 0.30)),
        (REFUSED, REFUSED),
    )
    assert result.agreement == 0.75
    assert [pair.file for pair in result.disagreements] == ["1.wav"]
    assert result.differences == pytest.approx([0.1, 0.5, 0.0])
    assert result.slowdown == pytest.approx(result.latency_s("new", 0.5) / result.latency_s("old", 0.5))
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["max_difference"] == pytest.approx(0.5)
    assert record["mean_difference"] == pytest.approx(0.2)
    assert record["disagreements"] == [
        {"file": "1.wav", "old": {"verdict": "Real", "p_fake": 0.4}, "new": {"verdict": "Fake", "p_fake": 0.9}}
    ]


def test_answers_from_a_cache_and_failures_say_nothing_of_speed():
    result = compared((judged(0.2, 0.1), judged(0.2, 0.2)), (judged(0.2, 5, cached=True), FAILED))
    assert result.slowdown == pytest.approx(2.0)
    assert (result.n_cached("old"), result.n_failed("new")) == (1, 1)


def test_a_failure_of_the_new_version_is_a_disagreement_even_if_the_old_one_fails_alike():
    assert compared((FAILED, FAILED)).agreement == 0
    assert compared((FAILED, judged(0.1))).agreement == 0
    assert compared((REFUSED, REFUSED)).agreement == 1


@pytest.mark.parametrize(
    ("pairs", "allowed", "exceeded"),
    [
        ([(judged(0.1), judged(0.1))], Thresholds(), []),
        ([(judged(0.1), judged(0.9))], Thresholds(), ["100.0% of the verdicts differ; allowed: 5.0%"]),
        ([(judged(0.1), judged(0.9))], Thresholds(max_disagreement=1), []),
        ([(judged(0.1), judged(0.1, 0.2))], Thresholds(), ["2.00 times the latency; allowed: 1.50"]),
        ([(judged(0.1), judged(0.1, cached=True))], Thresholds(), ["nan times the latency; allowed: 1.50"]),
        ([], Thresholds(), ["nothing was compared"]),
    ],
)
def test_what_goes_past_a_threshold_is_named(pairs, allowed, exceeded):
    assert compared(*pairs).exceeded(allowed) == exceeded


@pytest.mark.parametrize("values", [{"max_disagreement": 1.1}, {"max_disagreement": -0.1}, {"max_slowdown": 0}])
def test_thresholds_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Thresholds(**values)


def test_an_outcome_tells_refusals_from_failures():
    body = {"prediction": "Fake", "probabilities": {"fake": 0.7}, "cache": "hit"}
    assert Outcome.of(Reply(200, body), 0.1) == Outcome("Fake", 0.7, 0.1, cached=True)
    for status, failed in ((422, False), (500, True)):
        reply = Reply(status, {"error": {"code": "x", "message": "", "status": status}})
        assert Outcome.of(reply, 0.1) == Outcome("x", None, 0.1, failed=failed)


def test_quantiles_are_values_that_were_measured():
    assert [quantile([3, 1, 2, 4], share) for share in (0.0, 0.5, 0.75, 0.95, 1.0)] == [1, 2, 3, 4, 4]
    assert math.isnan(quantile([], 0.5))
