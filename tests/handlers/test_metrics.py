"""The lines that a worker writes for its metrics, through TorchServe's own reading of config/metrics.yaml."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import pytest
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from handlers.exchange import Batch, Exchange
from handlers.metrics import COUNTER_LABELS, Metrics, worker_name
from model_defs.caching.detection_cache import DetectionCache
from model_defs.caching.settings import CacheSettings
from model_defs.errors import DetectionError, ErrorCode

CONFIG = Path(__file__).resolve().parents[2] / "config" / "metrics.yaml"
# As org.pytorch.serve.metrics.Metric reads a line; what it does not match is lost.
LINE = re.compile(r"\[METRICS](\w+)\.(\w+):([0-9\-,.e]+)\|#([^|]*)\|#type:([^|,]+)\|#hostname:([^,]+),(\d+)")


@pytest.fixture
def metrics(caplog) -> Metrics:
    caplog.set_level(logging.INFO)
    return Metrics(declared(), "video", "1.0", "9000")


@pytest.fixture
def emitted(caplog):
    """Takes the lines written so far: (metric, label values after model and version) -> values."""

    def take() -> dict[tuple[str, ...], list[float]]:
        found: dict[tuple[str, ...], list[float]] = {}
        for message in [record.getMessage() for record in caplog.records if record.name.startswith("ts.")]:
            name, _, value, labels, _, _, _ = LINE.fullmatch(message).groups()
            pairs = dict(label.split(":") for label in labels.split(","))
            assert (pairs.pop("model_name"), pairs.pop("model_version")) == ("video", "1.0")
            found.setdefault((name, *pairs.values()), []).append(float(value))
        caplog.clear()
        return found

    return take


STATS = {
    "results": {"items": 7, "bytes": 512},
    "samples": {"items": 1, "bytes": 4096},
    "store": "redis",
    "store_up": True,
    "store_errors": 0,
}


def declared() -> MetricsCacheYamlImpl:
    cache = MetricsCacheYamlImpl(config_file_path=str(CONFIG))
    cache.initialize_cache()
    return cache


def answer(p_fake: float = 0.25, cache: str = "miss", **stages_s: float) -> dict:
    return {
        "prediction": "Fake" if p_fake >= 0.5 else "Real",
        "probabilities": {"real": 1 - p_fake, "fake": p_fake},
        "cache": cache,
        "modalities": {"video": {"crops": ["detected", "interpolated", "centre", "centre"]}},
        "timings_s": stages_s,
    }


def exchange(*outcomes, status: int = 200, size_bytes: int = 100) -> Exchange:
    return Exchange("id", "http", status, [size_bytes] * len(outcomes), outcomes)


def batch(exchanges: list[Exchange], duration_s: float) -> Batch:
    return Batch(exchanges, duration_s, time.time() - duration_s)


def test_a_verdict_is_counted_under_its_labels(metrics, emitted):
    metrics.record([batch([exchange(answer(decode=0.2, forward=0.1, fuse=0.00001))], 0.4)])
    assert emitted() == {
        ("deepdetect_batch_size",): [1],
        ("deepdetect_handler_seconds",): [0.4],
        ("deepdetect_requests_total", "http", "200"): [1],
        ("deepdetect_received_bytes_total",): [100],
        ("deepdetect_verdicts_total", "Real"): [1],
        ("deepdetect_p_fake_total", "0.2-0.3"): [1],
        ("deepdetect_cache_lookups_total", "miss"): [1],
        ("deepdetect_stage_seconds", "decode"): [0.2],
        ("deepdetect_stage_seconds", "forward"): [0.1],
        ("deepdetect_stage_seconds", "fuse"): [0.00001],
        ("deepdetect_frames_total", "detected"): [1],
        ("deepdetect_frames_total", "interpolated"): [1],
        ("deepdetect_frames_total", "centre"): [2],
    }


def test_counters_are_summed_over_the_batch_and_durations_are_not(metrics, emitted):
    refusal = DetectionError(ErrorCode.NO_FACE, "no\n[METRICS]face")
    exchanges = [exchange(answer(decode=0.1)), exchange(answer(decode=0.3)), exchange(refusal, refusal, status=422)]
    metrics.record([batch(exchanges, 0.5)])
    lines = emitted()
    assert lines["deepdetect_batch_size",] == [3]
    assert lines["deepdetect_handler_seconds",] == [0.5] * 3
    assert lines["deepdetect_stage_seconds", "decode"] == [0.1, 0.3]
    assert lines["deepdetect_verdicts_total", "Real"] == [2]
    assert lines["deepdetect_refusals_total", "no_face"] == [2]
    assert lines["deepdetect_received_bytes_total",] == [400]
    assert lines["deepdetect_requests_total", "http", "422"] == [1]


def test_batches_that_are_reported_together_are_told_apart_where_it_matters(metrics, emitted):
    metrics.record([batch([exchange(answer())], 0.5), batch([exchange(answer()), exchange(answer(0.9))], 0.2)])
    lines = emitted()
    assert lines["deepdetect_batch_size",] == [1, 2]
    assert lines["deepdetect_handler_seconds",] == [0.5, 0.2, 0.2]
    assert lines["deepdetect_verdicts_total", "Real"] == [2]
    assert lines["deepdetect_verdicts_total", "Fake"] == [1]


@pytest.mark.parametrize(("ago_s", "queued_s"), [(3.0, 2.5), (0.4, 0.0), (1e6, None), (-1e6, None)])
def test_time_in_the_queue_ends_where_the_handler_begins_and_a_wrong_clock_is_left_out(
    metrics, emitted, ago_s, queued_s
):
    sent = Exchange("id", "http", 200, [1], [answer()], sent_s=time.time() - ago_s)
    metrics.record([batch([sent], 0.5)])
    expected = None if queued_s is None else [pytest.approx(queued_s, abs=0.2)]
    assert emitted().get(("deepdetect_queue_seconds",)) == expected


def test_a_hit_is_a_verdict_for_which_nothing_was_decoded_or_scored(metrics, emitted):
    metrics.record([batch([exchange(answer(cache="hit", decode=0.1))], 0.001)])
    lines = emitted()
    assert lines["deepdetect_cache_lookups_total", "hit"] == [1]
    assert lines["deepdetect_verdicts_total", "Real"] == [1]
    assert not {name for name, *_ in lines} & {"deepdetect_stage_seconds", "deepdetect_frames_total"}


@pytest.mark.parametrize(
    ("p_fake", "decile"), [(0.0, "0.0-0.1"), (0.7, "0.7-0.8"), (0.999999, "0.9-1.0"), (1.0, "0.9-1.0")]
)
def test_p_fake_falls_into_its_tenth(metrics, emitted, p_fake, decile):
    metrics.record([batch([exchange(answer(p_fake))], 0.1)])
    assert emitted()["deepdetect_p_fake_total", decile] == [1]


def test_every_series_of_a_counter_is_set_out_at_nought(metrics, emitted):
    metrics.announce()
    lines = emitted()
    assert {name for name, *_ in lines} == set(COUNTER_LABELS)
    assert all(values == [0] for values in lines.values())
    assert ("deepdetect_refusals_total", "internal") in lines
    assert ("deepdetect_requests_total", "grpc", "422") in lines


def test_a_heartbeat_tells_the_state_of_the_worker(metrics, emitted):
    metrics.beat(STATS | {"store_up": False, "store_errors": 3}, 2)
    lines = emitted()
    assert lines["deepdetect_worker_heartbeat_timestamp_seconds", "9000"][0] == pytest.approx(time.time(), abs=60)
    assert lines["deepdetect_worker_memory_bytes", "9000"][0] > 10 * 2**20
    assert lines["deepdetect_worker_stuck_threads", "9000"] == [2]
    assert lines["deepdetect_cache_items", "9000", "results"] == [7]
    assert lines["deepdetect_cache_bytes", "9000", "samples"] == [4096]
    assert lines["deepdetect_cache_store_up", "9000"] == [0]
    assert lines["deepdetect_cache_store_errors_total",] == [3]
    metrics.beat(STATS | {"store_up": True, "store_errors": 5}, 0)
    assert emitted()["deepdetect_cache_store_errors_total",] == [2]


@pytest.mark.parametrize("stats", [{}, DetectionCache(CacheSettings(store="memory")).stats()])
def test_without_a_shared_store_nothing_is_said_of_one(metrics, emitted, stats):
    metrics.beat(stats, 0)
    assert not [name for name, *_ in emitted() if "store" in name]


def test_under_another_metrics_configuration_the_worker_goes_on_and_warns_once(caplog):
    caplog.set_level(logging.INFO)
    bare = declared()
    bare.cache.clear()
    metrics = Metrics(bare, "video", "1.0")
    for _ in range(2):
        metrics.record([batch([exchange(answer())], 0.1)])
    warnings = [record.getMessage() for record in caplog.records if "not declared" in record.getMessage()]
    assert len(warnings) == len(set(warnings)) > 3


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["worker.py", "--sock-type", "unix", "--sock-name", "/tmp/ts/.ts.sock.9003"], "9003"),
        (["worker.py", "--sock-type", "tcp", "--port", "9004"], "9004"),
        (["pytest"], "0"),
    ],
)
def test_a_worker_goes_by_the_number_that_torchserve_gave_it(arguments, name):
    assert worker_name(arguments) == name
