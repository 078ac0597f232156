"""How the server is: workers, queues, latency, cache; from its management and metrics APIs."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from client.errors import ClientError
from client.management import ServedVersion
from console.clip import Record
from console.detector import Detector
from console.strings import strings
from console.validation import curves_of

LATENCY = "deepdetect_handler_seconds"
LOOKUPS = "deepdetect_cache_lookups"
WINDOW_S = 300.0  # that "recent" means
SHOWN_MEASURES = ("auc", "balanced_accuracy", "eer", "ece_balanced")
Labels = tuple[str, str]  # model, version


@dataclass(frozen=True)
class Counters:
    """One reading of the counters that only grow.

    Attributes:
        buckets: (model, version) -> upper edge in seconds -> requests that took no longer.
        lookups: (model, version) -> outcome (hit, samples, miss) -> requests.
    """

    buckets: Mapping[Labels, Mapping[float, float]] = field(default_factory=dict)
    lookups: Mapping[Labels, Mapping[str, float]] = field(default_factory=dict)


class Health:
    """Reads the server's state; remembers earlier readings, so that a figure is of the last minutes."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._readings: deque[tuple[float, Counters]] = deque(maxlen=120)
        self._lock = threading.Lock()

    def read(self) -> Record:
        """State of every version: `{"is_up", "message", "versions": [...]}`."""
        try:
            versions = self.detector.versions()
        except ClientError as error:
            return {"is_up": False, "message": str(error), "versions": []}
        recent, since_start = self._figures()
        rows = [self._row(served, recent, since_start) for served in versions]
        return {"is_up": True, "message": "", "versions": rows, "has_management": self.detector.management is not None}

    def _figures(self) -> tuple[Counters, Counters]:
        """The counters since the oldest reading within the window, and since the server's start."""
        try:
            now = parse(self.detector.metrics_text())
        except requests.RequestException:
            return Counters(), Counters()
        at_s = time.monotonic()
        with self._lock:
            while self._readings and self._readings[0][0] < at_s - WINDOW_S:
                self._readings.popleft()
            before = self._readings[0][1] if self._readings else Counters()
            if not self._readings or at_s - self._readings[-1][0] > WINDOW_S / 100:
                self._readings.append((at_s, now))
        return difference(now, before), now

    def _row(self, served: ServedVersion, recent: Counters, since_start: Counters) -> Record:
        key = served.model, served.version
        latest, whole = recent.buckets.get(key, {}), since_start.buckets.get(key, {})
        is_recent = max(latest.values(), default=0.0) > 0
        lookups = since_start.lookups.get(key, {})
        n_lookups = sum(lookups.values())
        return {
            "model": served.model,
            "version": served.version,
            "is_default": served.is_default,
            "n_ready": served.n_ready,
            "n_workers": len(served.workers),
            "memory_bytes": sum(worker.memory_bytes for worker in served.workers),
            "n_pending": served.n_pending,
            "p50_s": histogram_quantile(latest if is_recent else whole, 0.5),
            "p95_s": histogram_quantile(latest if is_recent else whole, 0.95),
            "is_recent": is_recent,
            "n_requests": max(whole.values(), default=0.0),
            "cache_hit_share": lookups.get("hit", 0.0) / n_lookups if n_lookups else None,
            "n_cache_lookups": n_lookups,
        }


def model_card(manifest: Mapping[str, Any]) -> list[Record]:
    """The figures of one version: a row for each modality and split, and for the fused verdict where there is one."""
    artifacts, curves = manifest.get("artifacts", {}), curves_of(manifest)
    served = manifest.get("worker", {}).get("variants", {})
    rows = []
    for judged, by_split in curves.items():
        artifact = artifacts.get(judged, {})
        figures = artifact.get("figures", manifest.get("figures", {}))
        rows += [
            {
                "modality": judged,
                "network": artifact.get("network"),
                "variant": served.get(judged, "fp32") if artifact else None,
                "split": split,
                "split_name": strings()["models"].get(f"split_{split}", split),
                "date": figures.get("date"),
                "n_clips": (found.get("counts") or {}).get("clips"),
                "measures": {name: found["measures"][name] for name in SHOWN_MEASURES if found["measures"].get(name)},
            }
            for split, found in sorted(by_split.items(), key=lambda item: _place(item[0]))
        ]
    return rows


def _place(split: str) -> tuple[bool, str]:
    """Test comes last."""
    return split == "test", split


def parse(text: str) -> Counters:
    """The counters of a metrics page in Prometheus' text form."""
    buckets: dict[Labels, dict[float, float]] = {}
    lookups: dict[Labels, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name not in (LATENCY, LOOKUPS):
            continue
        for sample in family.samples:
            key = sample.labels.get("model_name", ""), sample.labels.get("model_version", "")
            if sample.name == f"{LATENCY}_bucket":
                edge = float(sample.labels["le"])
                of_key = buckets.setdefault(key, {})
                of_key[edge] = of_key.get(edge, 0.0) + sample.value
            elif sample.name == f"{LOOKUPS}_total":
                outcome = sample.labels.get("outcome", "")
                of_outcome = lookups.setdefault(key, {})
                of_outcome[outcome] = of_outcome.get(outcome, 0.0) + sample.value
    return Counters(buckets, lookups)


def difference(now: Counters, before: Counters) -> Counters:
    """What was counted between two readings; a server that started anew in between counts from 0."""
    return Counters(
        {
            key: {edge: max(0.0, n - before.buckets.get(key, {}).get(edge, 0.0)) for edge, n in edges.items()}
            for key, edges in now.buckets.items()
        },
        now.lookups,
    )


def histogram_quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Seconds below which that share lies, interpolated in its bucket as Prometheus' `histogram_quantile` does.

    None without requests; the last finite edge where it lies beyond.
    """
    edges = sorted(buckets)
    total = buckets[edges[-1]] if edges else 0.0
    if not total:
        return None
    rank, low_s, below = share * total, 0.0, 0.0
    for edge_s in edges:
        if buckets[edge_s] >= rank:
            if math.isinf(edge_s):
                return low_s
            inside = buckets[edge_s] - below
            return low_s + (edge_s - low_s) * ((rank - below) / inside if inside else 1.0)
        low_s, below = edge_s, buckets[edge_s]
    return low_s
