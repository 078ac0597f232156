"""An epoch is balanced, complete and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from training.data.datasets import Clip
from training.data.draws import Draw, batch_draws, draw_epoch


def make_clips(n_real: int, n_fake: int, group_of=lambda i: str(i)) -> list[Clip]:
    return [Clip(Path(str(i)), int(i >= n_real), group_of(i), "train") for i in range(n_real + n_fake)]


def test_half_of_the_draws_is_fake_whatever_the_data_hold():
    clips = make_clips(90, 10)
    draws = draw_epoch(clips, 100, np.random.default_rng(0))
    assert sum(clips[draw.index].label for draw in draws) == 50
    assert len({draw.seed for draw in draws}) == 100


def test_every_clip_of_a_balanced_set_is_drawn_once():
    draws = draw_epoch(make_clips(20, 20), 40, np.random.default_rng(3))
    assert sorted(draw.index for draw in draws) == list(range(40))


def test_draws_follow_from_the_seed():
    clips = make_clips(5, 7)
    first, again, other = (draw_epoch(clips, 12, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_a_source_of_one_class_comes_up_less_than_one_of_both():
    sources = ["one-sided"] * 20 + ["mixed"] * 20  # real: twenty of each
    clips = [Clip(Path(str(i)), 0, str(i), "train", source) for i, source in enumerate(sources)]
    clips += [Clip(Path(str(i)), 1, str(i), "train", "mixed") for i in range(40, 60)]
    draws = draw_epoch(clips, 1_000, np.random.default_rng(0))
    counts = Counter(clips[draw.index].source for draw in draws if clips[draw.index].label == 0)
    assert 3 < counts["mixed"] / counts["one-sided"] < 3.7  # sqrt((21 / 42) / (1 / 22)) = 3.3


def test_large_groups_do_not_outweigh_the_others():
    clips = make_clips(100, 20, lambda i: "crowd" if i >= 101 else str(i))  # fakes: 19 of a crowd, one alone
    draws = draw_epoch(clips, 1_000, np.random.default_rng(0))
    counts = Counter(clips[draw.index].group for draw in draws if clips[draw.index].label)
    assert 3.5 < counts["crowd"] / counts["100"] < 5.5  # sqrt(19) = 4.4, not 19


def test_pseudo_fakes_take_their_share_of_the_fakes_and_come_from_where_they_may():
    clips = make_clips(10, 10)
    draws = draw_epoch(clips, 100, np.random.default_rng(0), blendable=[2, 3], self_blended_share=0.4)
    blended = [draw for draw in draws if draw.self_blended]
    assert len(blended) == 20
    assert {draw.index for draw in blended} == {2, 3}
    assert sum(clips[draw.index].label or draw.self_blended for draw in draws) == 50


def test_batches_hold_equally_long_clips_and_all_but_one_alone():
    draws = [Draw(i, i) for i in range(23)]
    lengths = [1 if i % 3 else 4 for i in range(23)]
    batches = batch_draws(draws, lengths, 8)
    missing = set(draws) - {draw for batch in batches for draw in batch}
    assert sum(map(len, batches)) + len(missing) == len(draws)
    assert len(missing) <= 1
    assert all(len(batch) > 1 for batch in batches)
    for batch in batches:
        of_batch = {lengths[draw.index] for draw in batch}
        assert len(of_batch) == 1
        assert len(batch) * of_batch.pop() <= 8
