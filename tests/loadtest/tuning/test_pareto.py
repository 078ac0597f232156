"""The frontier of throughput against latency."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.tuning.pareto import Point, dominates, frontier, ordered

POINTS = st.lists(st.builds(Point, st.integers(1, 6).map(float), st.integers(1, 6).map(float)), min_size=1, max_size=12)


def test_a_frontier_that_can_be_seen():
    points = [Point(4, 100), Point(6, 200), Point(5, 200), Point(3, 90), Point(3, 120), Point(6, 300)]
    assert frontier(points) == [3, 0, 1]


def test_equals_are_both_on_it():
    assert frontier([Point(4, 100), Point(4, 100)]) == [0, 1]


@given(POINTS)
def test_nobody_beats_the_frontier_and_it_beats_all_others(points):
    best = frontier(points)
    assert best
    for index, point in enumerate(points):
        beaten = any(dominates(other, point) for other in points)
        assert beaten == (index not in best)


@given(POINTS, st.one_of(st.none(), st.integers(1, 6).map(float)))
def test_the_order_has_everybody_once_and_dominators_first(points, slo_ms):
    order = ordered(points, slo_ms)
    assert sorted(order) == list(range(len(points)))
    late = [slo_ms is not None and points[index].p95_ms > slo_ms for index in order]
    assert late == sorted(late)
    place = {index: at for at, index in enumerate(order)}
    for one in order:
        for other in order:
            if not late[place[other]] and dominates(points[one], points[other]):
                assert place[one] < place[other]


def test_the_ends_of_a_frontier_come_first():
    points = [Point(1, 10), Point(2, 11), Point(2.1, 12), Point(9, 90)]
    assert set(ordered(points)[:2]) == {0, 3}
