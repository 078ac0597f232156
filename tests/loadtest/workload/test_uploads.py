"""What callers send, and what they make of the answers; without a server, and without Locust."""

from __future__ import annotations

import hashlib
from argparse import Namespace
from pathlib import Path

import pytest

from loadtest.workload.reference import WRONG_ANSWER, WRONG_VERDICT, Judgement
from loadtest.workload.scenario import SCENARIOS_FILE
from loadtest.workload.uploads import BY_HAND, Source, Upload, Work, chosen_scenario, outcome_of, problem_of

SHA256 = hashlib.sha256(b"clip").hexdigest()


@pytest.fixture
def options(tmp_path: Path) -> Namespace:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"clip")
    return Namespace(
        scenario="",
        scenarios=str(SCENARIOS_FILE),
        model="",
        rate=0.0,
        random_seed=1,
        clips="",
        clip=str(clip),
        samples="",
        once=True,
        n_callers=2,
    )


def source(options: Namespace, scenario: str, **changes: object) -> Source:
    return Work(Namespace(**(vars(options) | {"scenario": scenario} | changes))).source(0)


def test_the_scenario_is_that_of_the_options(options):
    assert chosen_scenario(options) is BY_HAND
    options.scenario = "nonesuch"
    with pytest.raises(SystemExit, match="--scenario is nonesuch; .* has "):
        chosen_scenario(options)


def test_each_upload_is_another_file_and_a_repeated_test_draws_the_same_models(options):
    first, second = (source(options, "mixed") for _ in range(2))
    uploads = [first.draw() for _ in range(20)]
    assert len({upload.sha256 for upload in uploads}) == 20
    assert [upload.model for upload in uploads] == [second.draw().model for _ in range(20)]
    assert all(upload.data.startswith(b"clip") and upload.expected_outcome == "judged" for upload in uploads)
    assert {source(options, "mixed", model="audio").draw().model for _ in range(5)} == {"audio"}


def test_of_a_cached_load_files_come_again_for_every_caller(options):
    work = Work(Namespace(**(vars(options) | {"scenario": "cached"})))
    drawn = [{caller.draw().sha256 for _ in range(200)} for caller in (work.source(0), work.source(0))]
    assert all(len(files) < 200 for files in drawn)
    assert drawn[0] & drawn[1]


def test_an_open_loop_ends_after_its_duration_and_callers_share_the_rate(options):
    one = source(options, "mixed", rate=200.0)
    scenario = one.scenario
    due_s = list(one.arrivals())
    whole_s = scenario.warm_up_s + scenario.duration_s
    assert due_s[-1] < whole_s
    assert len(due_s) == pytest.approx(100.0 * whole_s, rel=0.2)  # two callers


@pytest.mark.parametrize(
    ("answer", "outcome", "problem"),
    [
        ({"sha256": SHA256, "prediction": "Fake", "probabilities": {"fake": 0.9}}, "judged", None),
        ({"sha256": SHA256, "prediction": "Real", "probabilities": {"fake": 0.1}}, WRONG_VERDICT, WRONG_VERDICT),
        ({"sha256": "0", "prediction": "Fake", "probabilities": {"fake": 0.9}}, WRONG_ANSWER, WRONG_ANSWER),
        ({"error": {"code": "draining", "message": "about to stop"}}, "draining", "draining: about to stop"),
    ],
)
def test_an_answer_is_held_against_its_upload_and_the_reference(answer, outcome, problem):
    upload = Upload("audio", b"clip", SHA256, Judgement("judged", "Fake", 0.9))
    assert outcome_of(answer, upload) == outcome
    assert problem_of(answer, upload) == problem
