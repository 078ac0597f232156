"""usage: mlserver_client.py ADDRESS KEY_HEADER MODEL FILE: prints what `mlserver infer` finds."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mlserver.codecs import Base64Codec
from mlserver.types import InferenceRequest, InferenceResponse

address, key, model, path = sys.argv[1:]
request = InferenceRequest(inputs=[Base64Codec.encode_input("data", [Path(path).read_bytes()], use_bytes=False)])
with tempfile.TemporaryDirectory() as directory:
    asked, answered = Path(directory, "in.jsonl"), Path(directory, "out.jsonl")
    asked.write_text(request.model_dump_json() + "\n")
    command = [str(Path(sys.executable).with_name("mlserver")), "infer", "-u", address.removeprefix("http://")]
    command += ["-m", model, "-i", str(asked), "-o", str(answered), "-w", "1", "-H", f"Authorization:{key}"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    response = InferenceResponse.model_validate_json(answered.read_text())
(answer,) = response.outputs[0].data.root
print(json.dumps({"scores": {"mlserver infer": json.loads(answer)["probabilities"]["fake"]}}))
