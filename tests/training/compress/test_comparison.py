from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from model_defs.networks.dynamic_int8 import quantize_dynamically
from model_defs.networks.registry import build_network
from training.compress import comparison
from training.compress.comparison import Row, auc_change, markdown, share_of_zeros
from training.evaluation.metrics import Estimate
from training.evaluation.scores import Scores


def _scores(margins, labels, groups) -> Scores:
    logits = np.stack([-np.asarray(margins) / 2, np.asarray(margins) / 2], axis=1)
    return Scores(logits, np.asarray(labels), tuple(groups))


def test_change_of_the_auc_is_paired(monkeypatch):
    monkeypatch.setattr(comparison, "N_RESAMPLES", 50)
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    before = _scores(rng.normal(size=40) + labels, labels, [f"g{index // 2}" for index in range(40)])
    shifted = Scores(before.logits + 1.0, before.labels, before.groups)
    assert auc_change(before, shifted) == Estimate(0.0, 0.0, 0.0)
    reversed_ = Scores(-before.logits, before.labels, before.groups)
    change = auc_change(before, reversed_)
    assert change.low < change.value < change.high < 0
    with pytest.raises(ValueError, match="same clips"):
        auc_change(before, _scores([0.0], [1], ["g0"]))


def test_zeros_are_counted_where_weights_are_floats():
    net = nn.Sequential(nn.Linear(10, 10), nn.BatchNorm1d(10))
    with torch.no_grad():
        net[0].weight[:, :3] = 0
        net[0].bias.zero_()
    assert share_of_zeros(net) == pytest.approx(0.3)
    assert share_of_zeros(quantize_dynamically(build_network("mfcc_gru_light"))) is None


def test_table_shows_each_figure():
    estimate = Estimate(0.9, 0.8, 0.95)
    first = Row("before", estimate, estimate, Estimate(0, 0, 0), 2**21, 2**20, 0.0, 10.0, 0.0, 1.0)
    after = Row("after", estimate, estimate, Estimate(-0.012, -0.03, 0.01), 2**20, 2**19, None, 4.0, 0.125, 0.98)
    header, _, one, two = markdown([first, after]).splitlines()
    assert header.count("|") == one.count("|") == two.count("|")
    assert "| -1.2 [-3.0, +1.0] |" in two
    assert "| 2.50x |" in two
    assert "| 98.0% |" in two
    assert "| 1.00 MiB | 0.50 MiB |" in two
