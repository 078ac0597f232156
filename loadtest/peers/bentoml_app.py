"""The model behind BentoML: `bentoml serve loadtest.peers.bentoml_app:Peer`, with what it serves in the environment.

Adaptive batching is on, as its documentation has it for throughput. BentoML forms batches of lists, which it reads
from JSON or forms; the input type below takes a raw body for a list of one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import bentoml
from pydantic import BeforeValidator, WithJsonSchema

from loadtest.peers.predictor import open_judge
from loadtest.peers.workload import serving_of

MODEL = os.environ["PEER_MODEL"]
SERVING = serving_of(MODEL)

RawBody = Annotated[
    list[bytes],
    BeforeValidator(lambda body: [body] if isinstance(body, bytes) else body),
    WithJsonSchema({"type": "string"}),  # for which BentoML passes the body on as it is
]


@bentoml.service(workers=SERVING.n_workers, traffic={"timeout": 120})
class Peer:
    """One model."""

    def __init__(self) -> None:
        self.judge, _ = open_judge(MODEL, Path(os.environ["PEER_DIRECTORY"]))

    @bentoml.api(route="/predict", batchable=True, max_batch_size=SERVING.batch_size, max_latency_ms=60_000)
    def predict(self, bodies: RawBody, /) -> list[str]:
        return self.judge(bodies)
