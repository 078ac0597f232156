"""Where the console listens, which server it asks, and what a session may take."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path

MIB = 2**20
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class ConsoleSettings:
    """One console.

    Attributes:
        host: address to listen on.
        port: of the page.
        inference: address of TorchServe's inference API.
        management: address of its management API; empty leaves out models and health.
        metrics: address of its metrics API; empty leaves out latency and cache.
        model: the model that judges, such as `ensemble`.
        key_file: TorchServe's key file; None finds the key as client/keys.py says.
        allowed_hosts: names by which browsers may ask for the page, besides those of loopback.
        token: what a browser must show once; empty asks for none, which only loopback allows.
        n_parallel: files sent to the server at once.
        max_files: in one session.
        max_file_bytes: of one file, where the server does not tell its own limit.
        max_session_bytes: of all files of one session on disk.
        max_sessions: at once.
        idle_s: a session ends so long after its last request; an open page sends one every few seconds.
        keep_dir: where uploads stay when a session ends; None removes them.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    inference: str = "http://127.0.0.1:8080"
    management: str = "http://127.0.0.1:8081"
    metrics: str = "http://127.0.0.1:8082"
    model: str = "ensemble"
    key_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    n_parallel: int = 4
    max_files: int = 200
    max_file_bytes: int = 100 * MIB
    max_session_bytes: int = 4_096 * MIB
    max_sessions: int = 32
    idle_s: float = 900.0
    keep_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("n_parallel", "max_files", "max_file_bytes", "max_session_bytes", "max_sessions", "idle_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 < self.port < 65_536:
            raise ValueError(f"port is {self.port}; allowed: 1 to 65535")
        if not self.token and not is_loopback(self.host):
            raise ValueError(f"host {self.host} can be reached from other machines: a token is needed")

    @property
    def host_names(self) -> frozenset[str]:
        """The names that a `Host` header may carry; another one is a page elsewhere that found its way here."""
        return frozenset({*LOOPBACK_NAMES, *self.allowed_hosts, self.host})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A token of 192 random bits."""
    return secrets.token_urlsafe(24)
