"""The search, against a server in a formula whose best setting is known."""

from __future__ import annotations

from statistics import median

import pytest

from loadtest.tuning.pareto import Point
from loadtest.tuning.search import QUICK_RUNGS, RUNGS, Rung, Search
from loadtest.tuning.space import Setting, Space
from tests.loadtest.tuning.surface import N_CORES, Surface, true_point

SPACE = Space.of_machine(N_CORES)
INCUMBENT = Setting(workers=1, batch_size=4, delay_ms=5, decode_threads=2)


def searched(seed: int = 0, slo_ms: float | None = None, noise: float = 0.03, rungs=RUNGS) -> tuple[Search, Surface]:
    search, surface = Search(INCUMBENT, slo_ms), Surface(noise, seed)
    search.run(SPACE, surface, rungs, seed=seed)
    return search, surface


def test_it_finds_the_best_with_a_fraction_of_the_grid():
    """Mostly the very best, and nearly it always, in ten searches."""
    best = max(true_point(setting).throughput_hz for setting in SPACE.all())
    shares = []
    for seed in range(10):
        search, surface = searched(seed)
        shares.append(true_point(search.chosen()).throughput_hz / best)
        assert len(search.trials) < len(SPACE.all()) / 3
        of_the_grid_s = 2 * RUNGS[-1].duration_s * RUNGS[-1].rounds * len(SPACE.all())
        assert surface.spent_s < of_the_grid_s / 7
    assert median(shares) > 0.99
    assert min(shares) > 0.85
    assert true_point(INCUMBENT).throughput_hz / best < 0.6


def test_a_latency_to_keep_is_kept():
    free, _ = searched()
    bound_ms = 0.7 * true_point(INCUMBENT).p95_ms
    bound, _ = searched(slo_ms=bound_ms)
    assert bound.point(bound.chosen()).p95_ms <= bound_ms
    assert bound.point(bound.chosen()).throughput_hz <= 1.1 * free.point(free.chosen()).throughput_hz


def test_where_nothing_keeps_the_latency_the_least_late_is_taken():
    search, _ = searched(slo_ms=1.0)
    assert search.chosen() == min(search.finalists, key=lambda setting: search.point(setting).p95_ms)


def test_the_one_in_force_stays_unless_it_is_beaten_beyond_noise():
    best = max(SPACE.all(), key=lambda setting: true_point(setting).throughput_hz)
    search = Search(best)
    search.run(SPACE, Surface(noise=0.05))
    assert search.chosen() == best


def test_rounds_that_overlap_are_no_improvement():
    other = Setting(2, 4, 5, 2)
    search = Search(INCUMBENT)
    search.trials = {
        INCUMBENT: {0: [Point(4.0, 100), Point(4.6, 100), Point(4.2, 100)]},
        other: {0: [Point(4.5, 100), Point(5.0, 100), Point(5.2, 100)]},
    }
    assert search.chosen() == INCUMBENT
    search.trials[other][0][0] = Point(4.7, 100)
    assert search.chosen() == other


def test_at_the_same_throughput_the_sooner_answer_counts():
    other = Setting(1, 4, 1, 2)
    search = Search(INCUMBENT)
    search.trials = {
        INCUMBENT: {0: [Point(4.0, 100), Point(4.1, 104)]},
        other: {0: [Point(4.0, 90), Point(4.1, 95)]},
    }
    assert search.chosen() == other


def test_every_rung_has_the_incumbent_and_fewer_settings():
    _search, surface = searched()
    rungs = [[setting for setting, number in surface.asked if number == each] for each in range(len(RUNGS))]
    assert [settings[0] for settings in rungs] == [INCUMBENT] * len(RUNGS)
    assert [len(settings) for settings in rungs] == sorted((len(settings) for settings in rungs), reverse=True)
    assert len(rungs[-1]) <= 1 + RUNGS[-1].keep
    fresh = set(rungs[1]) - set(rungs[0])
    assert 1 <= len(fresh) <= RUNGS[1].explore
    near = {each for setting in rungs[0] for each in SPACE.neighbours(setting)}
    assert fresh <= near


def test_the_default_measures_under_seven_minutes_and_a_quick_one_under_one():
    assert searched()[1].spent_s <= 420
    assert searched(rungs=QUICK_RUNGS)[1].spent_s <= 60


def test_the_same_seed_asks_for_the_same_settings():
    assert searched(3)[1].asked == searched(3)[1].asked


def test_the_space_has_no_setting_twice_and_none_without_sense():
    settings = SPACE.all()
    assert len(settings) == len(set(settings))
    assert all(setting.delay_ms == 1 for setting in settings if setting.batch_size == 1)
    assert all(setting.decode_threads <= max(1, setting.batch_size) for setting in settings)
    assert all(setting.workers <= N_CORES for setting in settings)
    assert set(SPACE.start(20)) <= set(settings)
    assert len(set(SPACE.start(20))) == 20
    with pytest.raises(ValueError, match="settings are wanted; there are"):
        SPACE.start(10_000)


def test_neighbours_are_a_step_away():
    near = SPACE.neighbours(INCUMBENT)
    assert INCUMBENT not in near
    for setting in near:
        differing = [name for name, value in vars(setting).items() if value != vars(INCUMBENT)[name]]
        assert len(differing) == 1
    assert Setting(1, 2, 5, 2) in near
    assert Setting(1, 8, 5, 2) in near
    odd = Setting(3, 6, 7, 3)  # as somebody may have written by hand
    assert {each.batch_size for each in SPACE.neighbours(odd)} == {4, 6, 8}


@pytest.mark.parametrize("n_cores", [1, 3, 64])
def test_a_machine_of_any_size_has_a_space(n_cores):
    space = Space.of_machine(n_cores)
    assert max(setting.workers for setting in space.all()) <= n_cores
    assert len(space.start(Rung(14, 1.0).keep)) == 14
