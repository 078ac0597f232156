"""What can go wrong between a client and the server; a file that is refused is none of it, see `Reply.error_code`."""

from __future__ import annotations


class ClientError(Exception):
    """The call gave no answer in the request contract."""


class KeyRefused(ClientError):
    """The server wants a key: there is none, it is not its own, or it has expired and cannot be renewed."""


class ClientUnknown(KeyRefused):
    """A proxy does not know the key: it is not one that it gave out."""


class ServerUnavailable(ClientError):
    """No server, a lost connection, a full queue or no worker: the same call may succeed later.

    Attributes:
        retry_after_s: when, if the server named it.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(ServerUnavailable):
    """The proxy has had too many requests from this client."""


class TimedOut(ClientError):
    """No answer within `timeout_s`. It is not tried again: the server may still be at work on it."""


class RequestFailed(ClientError):
    """TorchServe itself or a proxy turned the request down: no such model, a body too large, a dead worker.

    Attributes:
        status: HTTP status, or the name of the gRPC one.
    """

    def __init__(self, status: int | str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
