"""What a worker tells Prometheus: an observation is a line on its output, which TorchServe's frontend adds up.

Every name is declared in config/metrics.yaml and explained in docs/serving/observe.md. Labels take their values from
closed lists, never from a caller. Counters are summed over a batch before they are sent, since each line costs.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import psutil
from ts.metrics.caching_metric import CachingMetric
from ts.metrics.metric_cache_errors import MetricsCacheKeyError
from ts.metrics.metric_type_enum import MetricTypes

from handlers.exchange import Batch, Exchange
from model_defs.errors import DetectionError, ErrorCode

HEARTBEAT_S = 10.0
MAX_QUEUE_S = 3_600.0  # beyond that the proxy's clock is not ours
STAGES = ("decode", "faces", "features", "forward", "fuse", "explain")
CACHE_TIERS = ("results", "samples")
CACHE_OUTCOMES = ("hit", "samples", "miss")
CROPS = ("detected", "interpolated", "centre", "none")  # of the frames of a clip; none: no face, and not scored
DECILES = tuple(f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}" for tenth in range(10))
STATUSES = tuple(sorted({"200", *(str(code.status) for code in ErrorCode)}))

# The values that each label of a counter can have. All series start at 0: of one whose first value is 1, Prometheus
# would not see the first increase.
COUNTER_LABELS: Mapping[str, Sequence[Sequence[str]]] = {
    "deepdetect_requests_total": (("http", "grpc"), STATUSES),
    "deepdetect_verdicts_total": (("Real", "Fake"),),
    "deepdetect_p_fake_total": (DECILES,),
    "deepdetect_refusals_total": (tuple(ErrorCode),),
    "deepdetect_cache_lookups_total": (CACHE_OUTCOMES,),
    "deepdetect_cache_store_errors_total": (),
    "deepdetect_frames_total": (CROPS,),
    "deepdetect_received_bytes_total": (),
}


class Metrics:
    """The metrics of one worker.

    Args:
        declared: those of config/metrics.yaml, as TorchServe hands them to a worker.
        model_name: label of every metric, like
        model_version: the version.
        worker: tells apart the workers of a version, and stays when one is started again.
    """

    def __init__(self, declared: Any, model_name: str, model_version: str, worker: str = "0") -> None:
        self._declared = declared
        self._labels = [model_name, model_version]
        self._worker = worker
        self._store_errors = 0
        self._undeclared: set[str] = set()

    def announce(self) -> None:
        """Sets out every series of a counter at 0."""
        for name, labels in COUNTER_LABELS.items():
            for values in product(*labels):
                self._emit(MetricTypes.COUNTER, name, 0, *values)

    def record(self, batches: Sequence[Batch]) -> None:
        """Counts what was answered; counters are summed over all of it, an observation is a line of its own."""
        sums: Counter[tuple[str, ...]] = Counter()
        for batch in batches:
            self._observe("deepdetect_batch_size", len(batch.exchanges))
            for exchange in batch.exchanges:
                self._count_exchange(exchange, batch, sums)
        for (name, *labels), total in sums.items():
            if total:
                self._emit(MetricTypes.COUNTER, name, total, *labels)

    def beat(self, cache_stats: Mapping[str, Any], n_stuck: int) -> None:
        """Tells that the worker lives, and the state of what it holds.

        Args:
            cache_stats: `DetectionCache.stats()`; empty where nothing is remembered.
            n_stuck: decoding threads that were given up and have not come back.
        """
        self._gauge("deepdetect_worker_heartbeat_timestamp_seconds", round(time.time(), 3))
        self._gauge("deepdetect_worker_memory_bytes", psutil.Process().memory_info().rss)
        self._gauge("deepdetect_worker_stuck_threads", n_stuck)
        for tier in CACHE_TIERS:
            if tier in cache_stats:
                self._gauge("deepdetect_cache_items", cache_stats[tier]["items"], tier)
                self._gauge("deepdetect_cache_bytes", cache_stats[tier]["bytes"], tier)
        if cache_stats.get("store", "memory") != "memory":
            self._gauge("deepdetect_cache_store_up", int(cache_stats["store_up"]))
            new_errors = cache_stats["store_errors"] - self._store_errors
            self._store_errors += new_errors
            if new_errors:
                self._emit(MetricTypes.COUNTER, "deepdetect_cache_store_errors_total", new_errors)

    def start_beating(self, state: Callable[[], tuple[Mapping[str, Any], int]]) -> None:
        """Beats now, and then each `HEARTBEAT_S` until the process ends; `state` gives the arguments of `beat`."""

        def beat() -> None:
            while True:
                try:
                    self.beat(*state())
                except Exception:  # such as a cache that cannot be asked: the worker itself still lives
                    logging.getLogger(__name__).exception("a heartbeat failed")
                time.sleep(HEARTBEAT_S)

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()

    def _count_exchange(self, exchange: Exchange, batch: Batch, sums: Counter[tuple[str, ...]]) -> None:
        self._observe("deepdetect_handler_seconds", batch.duration_s)
        if exchange.sent_s is not None and abs(batch.arrived_s - exchange.sent_s) < MAX_QUEUE_S:
            self._observe("deepdetect_queue_seconds", max(0.0, batch.arrived_s - exchange.sent_s))
        sums["deepdetect_requests_total", exchange.transport, str(exchange.status)] += 1
        sums["deepdetect_received_bytes_total",] += sum(exchange.sizes_bytes)
        for outcome in exchange.outcomes:
            if isinstance(outcome, DetectionError):
                sums["deepdetect_refusals_total", outcome.code.value] += 1
            else:
                self._count_answer(outcome, sums)

    def _count_answer(self, answer: Mapping[str, Any], sums: Counter[tuple[str, ...]]) -> None:
        p_fake = answer["probabilities"]["fake"]
        sums["deepdetect_verdicts_total", answer["prediction"]] += 1
        sums["deepdetect_p_fake_total", DECILES[min(int(p_fake * 10), 9)]] += 1
        if answer["cache"] in CACHE_OUTCOMES:
            sums["deepdetect_cache_lookups_total", answer["cache"]] += 1
        if answer["cache"] == "hit":  # nothing was decoded or scored for it
            return
        for stage in STAGES:
            if stage in answer["timings_s"]:
                self._observe("deepdetect_stage_seconds", answer["timings_s"][stage], stage)
        video = answer["modalities"].get("video", {})
        for crop in video.get("crops", ["none"] * video.get("frames", 0)):  # without any face there are no crops
            sums["deepdetect_frames_total", crop] += 1

    def _observe(self, name: str, value: float, *labels: str) -> None:
        self._emit(MetricTypes.HISTOGRAM, name, round(value, 6), *labels)

    def _gauge(self, name: str, value: float, *labels: str) -> None:
        self._emit(MetricTypes.GAUGE, name, value, self._worker, *labels)

    def _emit(self, kind: MetricTypes, name: str, value: float, *labels: str) -> None:
        if name in self._undeclared:
            return
        try:
            metric: CachingMetric = self._declared.get_metric(name, kind)
        except MetricsCacheKeyError:
            self._undeclared.add(name)
            logging.getLogger(__name__).warning("%s is not declared in metrics_config, and so not reported", name)
            return
        metric.add_or_update(value, [*self._labels, *labels])


def worker_name(arguments: Sequence[str] = sys.argv) -> str:
    """The number that TorchServe gives a worker: the tail of its socket's name, or its port."""
    for option, value in pairwise(arguments):
        if option in ("--sock-name", "--port"):
            return value.rpartition(".")[2]
    return "0"
