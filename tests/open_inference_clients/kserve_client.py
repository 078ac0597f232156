"""usage: kserve_client.py ADDRESS KEY_HEADER MODEL FILE [GRPC_ADDRESS]: prints what KServe's client finds."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceGRPCClient

address, key, model, path = sys.argv[1:5]
data = Path(path).read_bytes()


def p_fake(answer: str | bytes) -> float:
    return json.loads(answer)["probabilities"]["fake"]


def raw() -> InferInput:
    tensor = InferInput("data", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([data], dtype=np.object_), binary_data=True)
    return tensor


async def main() -> None:
    rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    headers = {"Authorization": key}

    async def infer(tensor: InferInput, **options) -> float:
        request = InferRequest(model, [tensor], **options)
        reply = await rest.infer(address, request, model_name=model, headers=dict(headers))
        return p_fake(reply.outputs[0].as_numpy()[0])

    text = InferInput("data", [1], "BYTES", data=[base64.b64encode(data).decode()])
    scores = {
        "base64 in the JSON": await infer(text),
        "bytes behind the JSON": await infer(raw(), parameters={"binary_data_output": True}),
    }
    health = [
        await rest.is_server_live(address, headers=headers),
        await rest.is_server_ready(address, headers=headers),
    ]
    if len(sys.argv) > 5:
        health.append(await rest.is_model_ready(address, model, headers=headers))
        grpc = InferenceGRPCClient(sys.argv[5], timeout=60)
        tensor = InferInput("data", [1], "BYTES", data=[data])
        reply = await grpc.infer(InferRequest(model, [tensor]), headers=[("authorization", key)])
        scores["gRPC"] = p_fake(reply.outputs[0].data[0])
    print(json.dumps({"scores": scores, "health": health}))


asyncio.run(main())
