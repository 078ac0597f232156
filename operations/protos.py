"""`make protos`: the gRPC services of TorchServe, out of its jar into `client/torchserve.protoset`.

The file is a compiled FileDescriptorSet: our client reads it with any release of protobuf, as does `grpcurl -protoset`.
What protoc writes as Python is bound to a major version of protobuf, and would bind every caller to it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from operations.settings import PROJECT_DIR

PROTOSET = PROJECT_DIR / "client" / "torchserve.protoset"
PROTOS = ("inference.proto", "open_inference_grpc.proto")


def compile_protos(target: Path) -> None:
    """Writes the descriptors of `PROTOS` and of all that they import.

    Raises:
        RuntimeError: protoc cannot compile what the jar holds.
    """
    import ts
    from grpc_tools import protoc

    jar = Path(ts.__file__).parent / "frontend" / "model-server.jar"
    with TemporaryDirectory() as temporary, ZipFile(jar) as archive:
        archive.extractall(temporary, [name for name in archive.namelist() if name.endswith(".proto")])
        arguments = [f"--proto_path={temporary}", "--include_imports", f"--descriptor_set_out={target}", *PROTOS]
        if protoc.main(["protoc", *arguments]):
            raise RuntimeError(f"protoc cannot compile {', '.join(PROTOS)} of {jar}")


if __name__ == "__main__":
    compile_protos(PROTOSET)
    sys.exit(0)
