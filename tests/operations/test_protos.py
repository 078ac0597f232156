"""The messages that the client ships are those of the server that is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from client import messages
from operations.protos import PROTOSET, compile_protos


def test_what_is_shipped_is_what_the_jar_holds(tmp_path):
    compile_protos(tmp_path / "protoset")
    assert (tmp_path / "protoset").read_bytes() == PROTOSET.read_bytes(), "run `make protos`"
    for package, name in (("grpcio-tools", "grpcio-tools"), ("torchserve", "TorchServe")):
        assert f"{name} {version(package)}" in messages.__doc__


def test_a_grpc_caller_needs_grpcio_and_protobuf_alone():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('ts', 'torch', 'grpc_tools', 'google.rpc')));"
        "from client.inference import GrpcClient; from client.messages import message;"
        "print(message('PredictionsRequest')(model_name='audio').model_name)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "audio\n", done.stderr
