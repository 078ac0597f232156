"""Which times are sampled, and by which seeks they are reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_defs.decoding.sampling import KeyframeTimes, SamplePlan, Step, frame_plan, plan_steps, window_starts


def test_by_count_takes_the_centres_of_equal_parts():
    plan = frame_plan(2.0, 10.0, n_frames=5, interval_s=None, max_frames=64)
    assert plan == SamplePlan((3.0, 5.0, 7.0, 9.0, 11.0), 2.0)


def test_by_interval_keeps_the_interval():
    plan = frame_plan(0.0, 10.9, n_frames=None, interval_s=2.0, max_frames=64)
    assert plan == SamplePlan((1.0, 3.0, 5.0, 7.0, 9.0), 2.0)


def test_interval_longer_than_the_clip_gives_its_middle():
    assert frame_plan(0.0, 3.0, n_frames=None, interval_s=10.0, max_frames=64).times_s == (1.5,)


def test_too_many_intervals_are_spread_over_the_whole_clip():
    plan = frame_plan(0.0, 1000.0, n_frames=None, interval_s=1.0, max_frames=10)
    assert plan.is_capped
    assert plan.times_s == tuple(50.0 + 100.0 * part for part in range(10))


@pytest.mark.parametrize(("n_frames", "interval_s"), [(None, None), (3, 1.0), (0, None), (None, 0.0), (None, -1.0)])
def test_a_wrong_request_is_a_mistake_of_the_caller(n_frames, interval_s):
    with pytest.raises(ValueError, match="n_frames"):
        frame_plan(0.0, 10.0, n_frames, interval_s, 64)


def test_windows_lie_in_the_middle_of_equal_parts():
    assert window_starts(100.0, 4.0, 4) == [10.5, 35.5, 60.5, 85.5]


def test_a_keyframe_in_each_part_costs_one_frame_each():
    plan = frame_plan(0.0, 10.0, 10, None, 64)
    steps = plan_steps(plan, KeyframeTimes(0.0, [float(second) for second in range(10)]))
    assert [step.keyframe_s for step in steps] == [float(second) for second in range(10)]
    assert all(step.is_single for step in steps)


def test_one_group_of_pictures_is_one_run():
    plan = frame_plan(0.0, 10.0, 10, None, 64)
    assert plan_steps(plan, KeyframeTimes(0.0, [0.0])) == [Step(0.0, plan.times_s, is_single=False)]


def test_a_run_starts_at_the_keyframe_before():
    plan = SamplePlan((1.0, 3.0, 5.0), 2.0)
    steps = plan_steps(plan, KeyframeTimes(0.0, [0.0, 1.9]))
    # 1.9 is nearer to the first centre than 0.0, and the second and third are decoded from it.
    assert steps == [Step(1.9, (1.9, 3.0, 5.0), is_single=False)]


def test_the_keyframe_nearest_to_the_centre_is_taken():
    steps = plan_steps(SamplePlan((10.0,), 20.0), KeyframeTimes(0.0, [0.0, 8.5, 11.0, 19.0]))
    assert steps == [Step(11.0, (10.0,), is_single=True)]


def test_without_any_keyframe_the_start_is_decoded_from():
    assert plan_steps(SamplePlan((5.0,), 2.0), KeyframeTimes(1.0, [])) == [Step(1.0, (5.0,), is_single=False)]


@given(
    n_frames=st.integers(1, 64),
    duration_s=st.floats(0.04, 20_000),
    parts=st.lists(st.floats(0, 1), max_size=50),
)
def test_no_seek_goes_back_and_no_keyframe_is_used_twice(n_frames, duration_s, parts):
    keyframes = KeyframeTimes(0.0, sorted({0.0, *(part * duration_s for part in parts)}))
    plan = frame_plan(0.0, duration_s, n_frames, None, 64)
    steps = plan_steps(plan, keyframes)
    starts_s = [step.keyframe_s for step in steps]
    assert starts_s == sorted(set(starts_s))
    assert sum(len(step.targets_s) for step in steps) == n_frames
    for step in steps:
        assert list(step.targets_s) == sorted(step.targets_s)
        if step.is_single:
            assert abs(step.keyframe_s - step.targets_s[0]) <= plan.spacing_s / 2
        else:
            assert step.keyframe_s <= step.targets_s[0]
