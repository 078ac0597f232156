"""The model behind LitServe: `python -m loadtest.peers.litserve_app MODEL PORT DIRECTORY`.

What its documentation offers for throughput is on: batches, and the ZeroMQ queue between server and worker.
LitServe reads JSON and forms by itself; a FastAPI dependency hands it the raw body.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import litserve
from fastapi import Depends, Request, Response

from loadtest.peers.predictor import open_judge
from loadtest.peers.workload import serving_of


async def raw_body(request: Request) -> bytes:
    """The body as it came."""
    return await request.body()


class PeerAPI(litserve.LitAPI):
    """One batch at a time, as our handler has it."""

    def __init__(self, model: str, directory: Path, **options) -> None:
        super().__init__(**options)
        self.model, self.directory = model, directory

    def setup(self, device: str) -> None:
        self.judge, _ = open_judge(self.model, self.directory)

    # The annotations are objects, not text: LitServe reads them, and FastAPI after it.
    def decode_request(self, request):
        return request

    decode_request.__annotations__ = {"request": Annotated[bytes, Depends(raw_body)]}

    def batch(self, inputs):
        return inputs

    def predict(self, bodies):
        return self.judge(bodies)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return Response(output, media_type="application/json")


def main(model: str, port: str, directory: str) -> None:
    """Serves until it is ended."""
    serving = serving_of(model)
    api = PeerAPI(model, Path(directory), max_batch_size=serving.batch_size, batch_timeout=serving.delay_ms / 1e3)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=serving.n_workers, timeout=120, fast_queue=True
    )
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
