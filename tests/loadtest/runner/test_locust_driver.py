"""What makes a run count, and what the callers' files are put together to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.measure.results import Run, Sample
from loadtest.runner.locust_driver import keeps, notes, problems
from loadtest.workload.recording import Recorded, Recorder, read_recorded
from loadtest.workload.reference import WRONG_VERDICT, Judgement

GOOD = {"prediction": "Real", "probabilities": {"real": 0.7, "fake": 0.3}, "sha256": "ab"}


def sample(scheduled_s: float, late_s: float = 0.0, took_s: float = 0.1, **others) -> Sample:
    sent_s = scheduled_s + late_s
    return Sample("video", "http", scheduled_s, sent_s, sent_s + took_s, others.pop("outcome", "judged"), **others)


def open_run(samples: list[Sample], n_due: int | None = None) -> Run:
    return Run("server", "4/s", "video", 10.0, tuple(samples), rate_hz=4.0, n_scheduled=n_due or len(samples))


ON_TIME = [sample(0.25 * index) for index in range(40)]


def test_a_run_as_it_should_be_counts():
    assert problems(open_run(ON_TIME)) == []
    assert notes(open_run(ON_TIME), Recorded(busy=[0.3])) == ()


def test_another_verdict_is_no_answer_whatever_its_time():
    (said,) = problems(open_run([*ON_TIME[:-1], sample(9.75, outcome=WRONG_VERDICT)]))
    assert said == "1 of 40 answers are not those of the reference"


def test_what_failed_is_named_and_a_refusal_that_was_expected_is_none():
    refused = sample(9.5, outcome="undecodable_media", expected="undecodable_media")
    full = sample(9.75, outcome="503 queue full")
    (said,) = problems(open_run([*ON_TIME[:-2], refused, full]))
    assert said == "1 of 40 requests failed: 1 503 queue full"
    assert problems(open_run([*ON_TIME[:-1], full]), may_fail=True) == []


def test_requests_that_were_never_sent_and_those_sent_after_the_time_fall_short_of_the_schedule():
    assert problems(open_run(ON_TIME, n_due=42)) == []
    (said,) = problems(open_run(ON_TIME, n_due=44))
    assert said == "only 91% of the scheduled rate was reached; 95% must be"
    late = [*ON_TIME[:-3], *(replace(each, sent_s=10.5, done_s=10.6) for each in ON_TIME[-3:])]
    (said,) = problems(open_run(late))
    assert "92% of the scheduled rate" in said


def test_a_late_sender_makes_requests_slower_not_quicker():
    late = [sample(0.25 * index, late_s=1.5) for index in range(40)]
    assert open_run(late).percentile_s(50) == pytest.approx(1.6)
    assert not keeps(open_run(late), 1.0)
    assert keeps(open_run(ON_TIME), 1.0)
    (said,) = notes(open_run(late), Recorded())
    assert "1500 ms late" in said


def test_of_requests_that_were_not_judged_in_time_one_in_twenty_is_allowed():
    failing = [sample(9.75, outcome="503 queue full")]
    assert keeps(open_run([*ON_TIME[:38], *failing * 2]), 1.0)
    assert not keeps(open_run([*ON_TIME[:37], *failing * 3]), 1.0)
    assert not keeps(open_run(ON_TIME, n_due=43), 1.0)  # three were never sent


def test_a_busy_caller_is_noted():
    (said,) = notes(open_run(ON_TIME), Recorded(busy=[0.1, 0.95]))
    assert "95% of a core" in said


def test_files_of_several_processes_go_together(tmp_path: Path):
    for index in range(2):
        recorder = Recorder(tmp_path)
        recorder.start(100.0 + index)
        recorder.sample(sample(103.0 + index))
        recorder.sample(sample(109.95 + index, took_s=0.5))
        recorder.unsent(108.0 + index)
        recorder.close()
    recorded = read_recorded(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(recorded.starts_s) == [100.0, 101.0]
    assert len(recorded.busy) == 2
    due, n_due = recorded.due_between(102.0, 110.5)
    assert [round(each.scheduled_s, 2) for each in due] == [1.0, 2.0, 7.95]
    assert n_due == 5
    assert [round(each.done_s, 2) for each in recorded.answered_between(102.0, 110.5)] == [1.1, 2.1, 8.45]


def test_a_file_that_breaks_off_is_not_taken_for_whole(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"start": 1.0}) + '\n{"sample": {"mod')
    with pytest.raises(ValueError, match="Unterminated"):
        read_recorded(tmp_path)


@pytest.mark.parametrize(
    ("reference", "outcome"),
    [
        (Judgement("judged", "Real", 0.3004), "judged"),
        (Judgement("judged", "Real", 0.32), WRONG_VERDICT),
        (Judgement("judged", "Fake", 0.3), WRONG_VERDICT),
        (Judgement("no_face"), WRONG_VERDICT),
    ],
)
def test_an_answer_beside_its_reference(reference: Judgement, outcome: str):
    assert reference.outcome_of(GOOD) == outcome


@pytest.mark.parametrize(
    ("code", "outcome"), [("no_face", "no_face"), ("too_long", WRONG_VERDICT), ("draining", "draining")]
)
def test_a_refusal_beside_its_reference(code: str, outcome: str):
    refusal = {"error": {"code": code, "message": "", "status": 422}}
    assert Judgement("no_face").outcome_of(refusal) == outcome
    judged = Judgement("judged", "Real", 0.3).outcome_of(refusal)
    assert judged == ("draining" if code == "draining" else WRONG_VERDICT)
