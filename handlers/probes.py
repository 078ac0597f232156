"""Health and metadata in KServe's forms. TorchServe 0.12 has no such routes: the proxy turns them into requests to the
model with the header `X-DeepDetect-Probe`, so that what answers is a worker that could have judged a file.

    v2              {"name", "versions", "platform", "inputs", "outputs"}
    v2-ready        {"name", "ready"}
    v1              {"name", "ready"}
    server-ready    {"ready"}
"""

from __future__ import annotations

import json

from handlers.open_inference import OUTPUT_NAME
from handlers.request import Response

PROBE_HEADER = "x-deepdetect-probe"
PLATFORM = "pytorch_torchscript"
INPUTS = [{"name": "data", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS = [{"name": OUTPUT_NAME, "datatype": "BYTES", "shape": [-1]}]
PROBES = ("v2", "v2-ready", "v1", "server-ready")


def render_probe(kind: str, model: str, version: str, is_draining: bool) -> Response:
    """The metadata or readiness of one version.

    Args:
        kind: one of `PROBES`.
        is_draining: the server turns requests away, because it is about to stop.
    """
    if kind == "v2":
        metadata = {"name": model, "versions": [version], "platform": PLATFORM, "inputs": INPUTS, "outputs": OUTPUTS}
        return Response(200, json.dumps(metadata))
    told = {"ready": not is_draining} if kind == "server-ready" else {"name": model, "ready": not is_draining}
    return Response(503 if is_draining else 200, json.dumps(told))
