"""What the three handlers share: rows in, one engine call, bodies out."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import cv2
import torch

from handlers.contract import parse_request, render
from handlers.metrics import Metrics, worker_name
from handlers.probes import render_probe
from handlers.reporter import Reporter
from handlers.request import Outcome, Request
from handlers.settings import HandlerSettings
from model_defs.errors import DetectionError, ErrorCode
from model_defs.inference.engine import Engine, Item, load_engine

logger = logging.getLogger(__name__)

RETIRE_AFTER_S = 0.5  # time to send the last answers
RETIRED = 70  # exit status; EX_SOFTWARE of sysexits.h

# A file of this name in the temp directory says that the server is about to stop: what comes now is turned away.
DRAIN_MARK = "deepdetect.draining"


class DetectionHandler:
    """A TorchServe handler over an engine.

    The archive holds one artifact directory a modality, `artifacts/<modality>/`,
    and `deepdetect.json`, which says what it was built from.
    """

    modalities: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.engine: Engine
        self.manifest: dict[str, Any] = {}
        self.max_stuck_threads = HandlerSettings.max_stuck_threads
        self._is_retiring = False
        self.reporter: Reporter | None = None

    def initialize(self, context: Any) -> None:
        """Loads the model and runs it once; TorchServe calls this when a worker starts.

        Raises:
            ValueError: the `handler` section of the model configuration is wrong.
        """
        settings = HandlerSettings.from_dict((context.model_yaml_config or {}).get("handler"))
        properties = context.system_properties
        archive = Path(properties["model_dir"])
        self.manifest = json.loads((archive / "deepdetect.json").read_text())
        torch.set_num_threads(1)  # workers share the cores, and several threads each wait for one another
        cv2.setNumThreads(1)
        self.max_stuck_threads = settings.max_stuck_threads
        self.engine = load_engine(
            {modality: archive / "artifacts" / modality for modality in self.modalities},
            name=context.model_name,
            version=context.manifest["model"]["modelVersion"],
            build=self.manifest["digest"],
            device=_device(properties.get("gpu_id")),
            variant=settings.variant,
            cache=settings.cache,
            settings=settings,
        )
        self.engine.warm_up()
        metrics = Metrics(context.metrics, self.engine.name, self.engine.version, worker_name())
        self.reporter = Reporter(self.engine, metrics)
        self.reporter.start()
        logger.info("model %s is warm, source digest %s", context.model_name, self.manifest["digest"])

    def handle(self, rows: Sequence[Mapping[str, Any]], context: Any) -> list[str | bytes]:
        """One body for each row, in order; the statuses are set on the context."""
        started = time.perf_counter()
        headers = [context.get_all_request_header(index) for index in range(len(rows))]
        if len(rows) == 1 and headers[0].get("describe") == "True":
            return [json.dumps(self.manifest | {"worker": self._worker(), "limits": asdict(self.engine.limits)})]
        max_bytes = self.engine.limits.max_bytes
        requests = [parse_request(row, own, max_bytes) for row, own in zip(rows, headers, strict=True)]
        judged = iter(self._detect([entry for request in requests for entry in request.entries]))
        if self.engine.n_stuck >= self.max_stuck_threads:
            self._retire()
        outcomes = [[next(judged) for _ in request.entries] for request in requests]
        bodies = [
            self._respond(context, index, request, answers)
            for index, (request, answers) in enumerate(zip(requests, outcomes, strict=True))
        ]
        if self.reporter is not None:
            self.reporter.report(context, requests, outcomes, time.perf_counter() - started)
        return bodies

    def _retire(self) -> None:
        """Ends this worker once its batch is answered; TorchServe starts another, without threads that hang.

        A batch that comes before that is lost, as with any worker that dies: its callers get a 500.
        """
        if not self._is_retiring:
            self._is_retiring = True
            logger.error("%d decoding threads hang; this worker ends itself", self.engine.n_stuck)
            timer = threading.Timer(RETIRE_AFTER_S, os._exit, [RETIRED])
            timer.daemon = True
            timer.start()

    def _worker(self) -> dict[str, Any]:
        """Which worker this is, and the variants it runs; by the pid a caller knows whom it has heard."""
        variants = {modality: predictor.artifact.variant for modality, predictor in self.engine.predictors.items()}
        return {"pid": os.getpid(), "variants": variants}

    def _detect(self, entries: Sequence[Item | DetectionError]) -> list[Outcome]:
        """An outcome for each entry; those refused on the way in keep their refusal."""
        if _is_draining():
            turned_away = DetectionError(ErrorCode.DRAINING, "the server is about to stop; send the file again")
            return [turned_away if isinstance(entry, Item) else entry for entry in entries]
        items = [entry for entry in entries if isinstance(entry, Item)]
        try:
            judged = iter(self.engine.detect_batch(items))
        except Exception:  # TorchServe would fail the batch without saying why
            logger.exception("a batch of %d files failed", len(items))
            judged = iter([DetectionError(ErrorCode.INTERNAL, "the batch could not be judged")] * len(items))
        return [next(judged) if isinstance(entry, Item) else entry for entry in entries]

    def _respond(self, context: Any, index: int, request: Request, outcomes: Sequence[Outcome]) -> str | bytes:
        name, version = self.engine.name, self.engine.version
        if request.probe:
            response = render_probe(request.probe, name, version, _is_draining())
        else:
            response = render(request, outcomes, name, version)
        return response.send(context, index, request.is_grpc)


def _is_draining() -> bool:
    return Path(tempfile.gettempdir(), DRAIN_MARK).exists()


def _device(gpu_id: int | str | None) -> str:
    return f"cuda:{gpu_id}" if gpu_id is not None and torch.cuda.is_available() else "cpu"
