"""usage: tritonclient_http.py ADDRESS KEY_HEADER MODEL FILE: prints {case: p_fake}, as NVIDIA's client finds it."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton

address, key, model, path = sys.argv[1:]
data = Path(path).read_bytes()
text = base64.b64encode(data)
client = triton.InferenceServerClient(address.removeprefix("http://"))


def infer(elements: np.ndarray, kind: str, binary_input: bool, binary_output: bool = True, **options) -> float:
    tensor = triton.InferInput("data", list(elements.shape), kind)
    tensor.set_data_from_numpy(elements, binary_data=binary_input)
    output = triton.InferRequestedOutput("answer", binary_data=binary_output)
    # The client leaves marks in the headers that it is given.
    result = client.infer(model, [tensor], outputs=[output], headers={"Authorization": key}, **options)
    (answer,) = result.as_numpy("answer")
    return json.loads(answer)["probabilities"]["fake"]


def refuse() -> str:
    tensor = triton.InferInput("data", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"no media"], dtype=np.object_))
    try:
        client.infer(model, [tensor], headers={"Authorization": key})
    except triton.InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    return "answered"


scores = {
    "bytes behind the JSON": infer(np.array([data], np.object_), "BYTES", True),
    "base64 behind the JSON": infer(np.array([text], np.object_), "BYTES", True),
    "base64 in the JSON": infer(np.array([text], np.object_), "BYTES", False, False),
    "numbers": infer(np.frombuffer(data, np.uint8), "UINT8", True),
    "gzip": infer(np.array([data], np.object_), "BYTES", True, request_compression_algorithm="gzip"),
    "parameters": infer(np.array([data], np.object_), "BYTES", True, request_id="7", parameters={"threshold": 0.4}),
}
print(json.dumps({"scores": scores, "error": refuse()}))
