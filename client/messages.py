"""The gRPC messages of TorchServe's inference service, from torchserve.protoset.

`make protos` compiles that file, with grpcio-tools 1.85.1 from the protos in the jar of TorchServe 0.12.0.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTOSET = "torchserve.protoset"
PROTO_PACKAGE = "org.pytorch.serve.grpc.inference"
SERVICE = f"{PROTO_PACKAGE}.InferenceAPIsService"


@cache
def message(name: str) -> Any:
    """The class of a message, such as `PredictionsRequest`."""
    return message_factory.GetMessageClass(_messages().FindMessageTypeByName(f"{PROTO_PACKAGE}.{name}"))


@cache
def _messages() -> descriptor_pool.DescriptorPool:
    """A pool of its own: in the one that all share, another package's files of the same name would clash."""
    pool = descriptor_pool.DescriptorPool()
    content = files("client").joinpath(PROTOSET).read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.Add(file)
    return pool
