"""Latency and cache, as the metrics page tells them."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("prometheus_client", reason="the console's packages are not here: make console-test")

from console.health import Counters, difference, histogram_quantile, model_card, parse

PAGE = """\
# HELP deepdetect_handler_seconds Torchserve prometheus histogram metric with unit: Seconds
# TYPE deepdetect_handler_seconds histogram
deepdetect_handler_seconds_bucket{model_name="ensemble",model_version="1.0",Hostname="a",le="0.1",} 50.0
deepdetect_handler_seconds_bucket{model_name="ensemble",model_version="1.0",Hostname="a",le="0.5",} 90.0
deepdetect_handler_seconds_bucket{model_name="ensemble",model_version="1.0",Hostname="a",le="+Inf",} 100.0
deepdetect_handler_seconds_count{model_name="ensemble",model_version="1.0",Hostname="a",} 100.0
deepdetect_handler_seconds_sum{model_name="ensemble",model_version="1.0",Hostname="a",} 12.5
# HELP deepdetect_cache_lookups_total Torchserve prometheus counter metric with unit: Count
# TYPE deepdetect_cache_lookups_total counter
deepdetect_cache_lookups_total{model_name="ensemble",model_version="1.0",outcome="hit",Hostname="a",} 3.0
deepdetect_cache_lookups_total{model_name="ensemble",model_version="1.0",outcome="miss",Hostname="a",} 1.0
"""
KEY = ("ensemble", "1.0")


def test_counters_are_read_off_the_page():
    found = parse(PAGE)
    assert found.buckets == {KEY: {0.1: 50.0, 0.5: 90.0, math.inf: 100.0}}
    assert found.lookups == {KEY: {"hit": 3.0, "miss": 1.0}}


def test_quantiles_are_interpolated_in_their_bucket():
    buckets = parse(PAGE).buckets[KEY]
    assert histogram_quantile(buckets, 0.5) == pytest.approx(0.1)
    assert histogram_quantile(buckets, 0.7) == pytest.approx(0.3)
    assert histogram_quantile(buckets, 0.99) == pytest.approx(0.5)  # beyond the last finite edge
    assert histogram_quantile({}, 0.5) is None


def test_the_last_minutes_are_a_difference():
    before = Counters({KEY: {0.1: 40.0, 0.5: 80.0, math.inf: 100.0}})
    assert difference(parse(PAGE), before).buckets[KEY] == {0.1: 10.0, 0.5: 10.0, math.inf: 0.0}


def test_a_card_has_a_row_for_each_split_of_the_variant_that_is_served():
    measures = {"auc": {"value": 0.9, "low": 0.8, "high": 1.0}}
    splits = {split: {"fp32": {"measures": measures, "counts": {"clips": 7}}} for split in ("test", "val", "other")}
    manifest = {"artifacts": {"audio": {"network": "n", "figures": {"date": "d", "splits": splits}}}}
    rows = model_card(manifest)
    assert [row["split_name"] for row in rows] == ["other", "validation", "test, unseen generators"]
    assert all((row["n_clips"], row["measures"], row["network"]) == (7, measures, "n") for row in rows)


def test_a_card_of_both_modalities_has_the_fused_figures_last():
    part = {"figures": {"splits": {"val": {"fp32": {"measures": {}, "counts": {}}}}}}
    manifest = {
        "artifacts": {"audio": part, "video": part},
        "figures": {"splits": {"val": {"measures": {}, "counts": {}}}},
    }
    assert [row["modality"] for row in model_card(manifest)] == ["audio", "video", "ensemble"]
