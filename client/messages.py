"""The gRPC messages of TorchServe's inference service, compiled from the proto file that it ships."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = "inference.proto"
PROTO_PACKAGE = "org.pytorch.serve.grpc.inference"
SERVICE = f"{PROTO_PACKAGE}.InferenceAPIsService"


@cache
def message(name: str) -> type:
    """The class of a message, such as `PredictionsRequest`."""
    return message_factory.GetMessageClass(_messages().FindMessageTypeByName(f"{PROTO_PACKAGE}.{name}"))


@cache
def _messages() -> descriptor_pool.DescriptorPool:
    """The messages of TorchServe's inference.proto, which lies inside its jar."""
    import google.rpc
    import grpc_tools
    import ts
    from grpc_tools import protoc

    jar = Path(ts.__file__).parent / "frontend" / "model-server.jar"
    includes = [Path(grpc_tools.__file__).parent / "_proto", Path(next(iter(google.rpc.__path__))).parent.parent]
    with TemporaryDirectory() as directory:
        with ZipFile(jar) as archive:
            archive.extract(PROTO, directory)
        compiled = Path(directory, "inference.descriptors")
        paths = [f"--proto_path={path}" for path in (directory, *includes)]
        if protoc.main(["protoc", *paths, "--include_imports", f"--descriptor_set_out={compiled}", PROTO]):
            raise RuntimeError(f"protoc cannot compile {PROTO} of {jar}")
        files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool
