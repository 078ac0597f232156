"""Has files judged by a TorchServe model over HTTP or gRPC; knows the wire and nothing else.

Both clients take the same arguments and raise the same errors:

    reply = HttpClient().predict("ensemble", Path("clip.mp4").read_bytes(), options={"frames": 16})
    reply.body["prediction"]

They find the server's key and renew it (client/keys.py), so one may be held for days. A judgement changes nothing on
the server, so a call that met no server, a full queue, a rate limit or a lost connection is made again, a few times
(client/retry.py); one that timed out is not. Both may be shared by threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import requests

from client.errors import RequestFailed, ServerUnavailable, TimedOut
from client.keys import KeySource, find_keys, trusted, with_key
from client.messages import SERVICE, message
from client.reply import Reply, grpc_error, grpc_reply, http_reply
from client.retry import DEFAULT, Retry

MAX_MESSAGE_BYTES = 256 * 2**20
CONNECT_TIMEOUT_S = 10.0
MAX_RECONNECT_DELAY_MS = 4_000


class HttpClient:
    """Sends files as raw bodies, the cheapest form.

    Args:
        address: the inference address; https is checked against `verify`.
        timeout_s: for one attempt.
        keys: where keys come from; None finds them, see client/keys.py.
        verify: a file of certificates to trust, or False; None takes DEEPDETECT_CA_FILE, or what the system trusts.
        retry: when a call is made again.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8080",
        timeout_s: float = 120.0,
        *,
        keys: KeySource | None = None,
        verify: bool | str | None = None,
        retry: Retry = DEFAULT,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.keys = find_keys() if keys is None else keys
        self.verify = trusted() if verify is None else verify
        self.retry = retry
        self.session = requests.Session()
        # Without one, requests would put a ~/.netrc in the place of the key.
        self.session.auth = lambda request: request

    def predict(
        self,
        model: str,
        data: bytes,
        *,
        file_name: str = "",
        options: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> Reply:
        """Has one file judged. A file that is refused is a reply with an `error_code`.

        Raises:
            ServerUnavailable: no server, a lost connection, or no room, after all attempts.
            RateLimited: the same, for the proxy's rate limit.
            KeyRefused: the server wants another key.
            TimedOut: there was no answer in time.
            RequestFailed: TorchServe or a proxy refused the request: no such model, a body too large.
        """
        url = f"{self.address}/predictions/{quote(model)}" + (f"/{quote(version)}" if version else "")
        headers = {"Content-Type": "application/octet-stream"}
        if options:
            headers["X-DeepDetect-Options"] = json.dumps(dict(options))
        if file_name:
            headers["Content-Disposition"] = _disposition(file_name)
        send = lambda key: http_reply(self._send(url, data, {**headers, **key}))  # noqa: E731
        return self.retry.call(lambda: with_key(self.keys, "inference", send))

    def close(self) -> None:
        self.session.close()

    def _send(self, url: str, data: bytes, headers: Mapping[str, str]) -> requests.Response:
        timeout_s = (min(CONNECT_TIMEOUT_S, self.timeout_s), self.timeout_s)
        try:
            return self.session.post(url, data=data, headers=headers, timeout=timeout_s, verify=self.verify)
        except requests.exceptions.SSLError as error:
            raise RequestFailed("TLS", str(error)) from error
        except requests.exceptions.ReadTimeout as error:
            raise TimedOut(f"{url} gave no answer in {self.timeout_s:g} s") from error
        except requests.exceptions.ConnectionError as error:
            raise ServerUnavailable(f"{url}: {error}") from error


class GrpcClient:
    """Calls `Predictions`.

    Args:
        address: host and port of the gRPC inference service; `https://host:port` for TLS.
        timeout_s: for one attempt.
        keys: where keys come from; None finds them, see client/keys.py.
        verify: a file of certificates to trust; None takes DEEPDETECT_CA_FILE, or what gRPC trusts.
        retry: when a call is made again.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:7070",
        timeout_s: float = 120.0,
        *,
        keys: KeySource | None = None,
        verify: bool | str | None = None,
        retry: Retry = DEFAULT,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.keys = find_keys() if keys is None else keys
        self.retry = retry
        self.channel = _channel(address, trusted() if verify is None else verify)
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
        """Has one file judged; raises what `HttpClient.predict` raises."""
        request = _request(model, data, file_name, options, version)
        return self._call(lambda **call: grpc_reply(self._predictions(request, **call).prediction))

    def predict_stream(self, model: str, data: bytes) -> list[Reply]:
        """The same over `StreamPredictions`; there is one reply, for nothing is streamed."""
        request = _request(model, data, "", None, None)
        return self._call(
            lambda **call: [grpc_reply(part.prediction) for part in self._stream_predictions(request, **call)]
        )

    def close(self) -> None:
        self.channel.close()

    def _call(self, method: Callable[..., Any]) -> Any:
        def send(key: Mapping[str, str]) -> Any:
            metadata = [(name.lower(), value) for name, value in key.items()]
            try:
                return method(timeout=self.timeout_s, metadata=metadata)
            except grpc.RpcError as error:
                raise grpc_error(error, self.address) from error

        return self.retry.call(lambda: with_key(self.keys, "inference", send))

    def _method(self, kind: str, name: str) -> Any:
        return getattr(self.channel, kind)(
            f"/{SERVICE}/{name}",
            request_serializer=message("PredictionsRequest").SerializeToString,
            response_deserializer=message("PredictionResponse").FromString,
        )


def _channel(address: str, verify: bool | str) -> grpc.Channel:
    options = [
        *((f"grpc.max_{way}_message_length", MAX_MESSAGE_BYTES) for way in ("send", "receive")),
        ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_DELAY_MS),  # of itself it would sit out minutes of a restart
    ]
    target = address.removeprefix("https://").removeprefix("http://")
    if not address.startswith("https://"):
        return grpc.insecure_channel(target, options)
    if verify is False:
        raise ValueError("verify is False; gRPC always checks certificates: name the file to trust")
    roots = Path(verify).read_bytes() if isinstance(verify, str) else None
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options)


def _request(model: str, data: bytes, file_name: str, options: Mapping[str, Any] | None, version: str | None) -> Any:
    inputs = {"data": data}
    if file_name:
        inputs["file_name"] = file_name.encode()
    for name, value in (options or {}).items():
        inputs[name] = (value if isinstance(value, str) else json.dumps(value)).encode()
    return message("PredictionsRequest")(model_name=model, model_version=version or "", input=inputs)


def _disposition(file_name: str) -> str:
    """The header value, in RFC 2231 form where the name is not plain ASCII."""
    header = Message()
    plain = file_name.isascii() and file_name.isprintable()
    header.add_header("Content-Disposition", "attachment", filename=file_name if plain else ("utf-8", "", file_name))
    return header["Content-Disposition"]
