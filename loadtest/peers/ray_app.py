"""The model behind Ray Serve: `python -m loadtest.peers.ray_app MODEL PORT DIRECTORY`.

On is what its documentation offers for throughput: batches, and in the environment, which `candidates.py` sets,
RAY_SERVE_THROUGHPUT_OPTIMIZED and RAY_SERVE_ENABLE_HA_PROXY. The batch runs in a thread, so that the replica's event
loop goes on taking requests in.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from pathlib import Path

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from loadtest.peers.predictor import open_judge
from loadtest.peers.workload import Serving, serving_of

N_QUEUED = 100  # as job_queue_size of our config.properties
OBJECT_STORE_BYTES = 200 * 2**20  # bodies do not pass through it; of itself Ray takes a third of the memory


def application(model: str, directory: Path, serving: Serving) -> serve.Application:
    """One deployment, of as many replicas as there are workers."""

    @serve.deployment(num_replicas=serving.n_workers, max_ongoing_requests=N_QUEUED, ray_actor_options={"num_cpus": 0})
    class Peer:
        def __init__(self) -> None:
            self.judge, _ = open_judge(model, directory)

        @serve.batch(max_batch_size=serving.batch_size, batch_wait_timeout_s=serving.delay_ms / 1e3)
        async def judge_batch(self, bodies: list[bytes]) -> list[str]:
            return await asyncio.to_thread(self.judge, bodies)

        async def __call__(self, request: Request) -> Response:
            return Response(await self.judge_batch(await request.body()), media_type="application/json")

    return Peer.bind()


def main(model: str, port: str, directory: str) -> None:
    """Serves until it is ended."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        configure_logging=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=tempfile.mkdtemp(prefix="ray-", dir=directory),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(application(model, Path(directory), serving_of(model)), route_prefix="/predict")
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
