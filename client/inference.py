"""Calls to a TorchServe model over HTTP and gRPC; knows the wire and nothing else.

Both clients take the same arguments:

    reply = HttpClient().predict("ensemble", Path("clip.mp4").read_bytes(), options={"frames": 16})
    reply.body["prediction"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

import grpc
import requests
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = "inference.proto"
PROTO_PACKAGE = "org.pytorch.serve.grpc.inference"
SERVICE = f"{PROTO_PACKAGE}.InferenceAPIsService"
MAX_MESSAGE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status; over gRPC, which does not carry it, the one that the body names.
        body: the answer, or `{"error": ...}`.
    """

    status: int
    body: dict[str, Any]

    @property
    def error_code(self) -> str | None:
        return self.body["error"]["code"] if "error" in self.body else None


class HttpClient:
    """Sends files as raw bodies, the cheapest form.

    Args:
        address: the inference address.
        timeout_s: for the whole of one call.
    """

    def __init__(self, address: str = "http://127.0.0.1:8080", timeout_s: float = 120.0) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.session = requests.Session()

    def predict(
        self,
        model: str,
        data: bytes,
        *,
        file_name: str = "",
        options: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> Reply:
        """Has one file judged.

        Raises:
            requests.RequestException: the server cannot be reached.
        """
        url = f"{self.address}/predictions/{quote(model)}" + (f"/{quote(version)}" if version else "")
        headers = {"Content-Type": "application/octet-stream"}
        if options:
            headers["X-DeepDetect-Options"] = json.dumps(dict(options))
        if file_name:
            headers["Content-Disposition"] = _disposition(file_name)
        response = self.session.post(url, data=data, headers=headers, timeout=self.timeout_s)
        return Reply(response.status_code, response.json())


class GrpcClient:
    """Calls `Predictions`. The messages are compiled from the proto file that TorchServe ships.

    Args:
        address: host and port of the gRPC inference service.
        timeout_s: for the whole of one call.
    """

    def __init__(self, address: str = "127.0.0.1:7070", timeout_s: float = 120.0) -> None:
        self.timeout_s = timeout_s
        sizes = [(f"grpc.max_{way}_message_length", MAX_MESSAGE_BYTES) for way in ("send", "receive")]
        self.channel = grpc.insecure_channel(address, options=sizes)
        self._predictions = self._method("unary_unary", "Predictions")
        self._stream_predictions = self._method("unary_stream", "StreamPredictions")

    def predict(
        self,
        model: str,
        data: bytes,
        *,
        file_name: str = "",
        options: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> Reply:
        """Has one file judged.

        Raises:
            grpc.RpcError: the server cannot be reached, or has no such model.
        """
        request = _request(model, data, file_name, options, version)
        return _reply(self._predictions(request, timeout=self.timeout_s).prediction)

    def predict_stream(self, model: str, data: bytes) -> list[Reply]:
        """The same over `StreamPredictions`; there is one reply, for nothing is streamed."""
        request = _request(model, data, "", None, None)
        return [_reply(part.prediction) for part in self._stream_predictions(request, timeout=self.timeout_s)]

    def close(self) -> None:
        self.channel.close()

    def _method(self, kind: str, name: str) -> Any:
        return getattr(self.channel, kind)(
            f"/{SERVICE}/{name}",
            request_serializer=_message("PredictionsRequest").SerializeToString,
            response_deserializer=_message("PredictionResponse").FromString,
        )


def _request(model: str, data: bytes, file_name: str, options: Mapping[str, Any] | None, version: str | None) -> Any:
    inputs = {"data": data}
    if file_name:
        inputs["file_name"] = file_name.encode()
    for name, value in (options or {}).items():
        inputs[name] = (value if isinstance(value, str) else json.dumps(value)).encode()
    return _message("PredictionsRequest")(model_name=model, model_version=version or "", input=inputs)


def _reply(prediction: bytes) -> Reply:
    body = json.loads(prediction)
    return Reply(body["error"]["status"] if "error" in body else 200, body)


def _disposition(file_name: str) -> str:
    """The header value, in RFC 2231 form where the name is not plain ASCII."""
    message = Message()
    plain = file_name.isascii() and file_name.isprintable()
    message.add_header("Content-Disposition", "attachment", filename=file_name if plain else ("utf-8", "", file_name))
    return message["Content-Disposition"]


@cache
def _message(name: str) -> type:
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
