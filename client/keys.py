"""TorchServe's keys: found, sent, and renewed before they expire.

TorchServe writes `key_file.json` (mode 0600) into the directory it starts in. The file holds a key for the inference
API, one for the management API, each with the time at which it expires, and one that renews them, at
`GET /token?type=inference` of the management API. A renewed key replaces the old one at once, for everyone; so
the clients of one machine renew under a lock, and look at the file again whenever it has changed.

    curl -H "$(python -m client.keys)" ...     the command prints the header for the inference API
    python -m client.keys management           the same for the management API

Environment, all optional: DEEPDETECT_KEY_FILE (where the file lies; else in DEEPDETECT_STATE, where that is set, or
else in the project's folder), DEEPDETECT_MANAGEMENT_ADDRESS (where to renew),
DEEPDETECT_CA_FILE (certificates to trust over https), and DEEPDETECT_INFERENCE_KEY and DEEPDETECT_MANAGEMENT_KEY
(fixed keys, such as the one that a proxy gave you; they beat the file).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar, get_args

import requests

from client.errors import ClientError, ClientUnknown, KeyRefused

Scope = Literal["inference", "management"]
T = TypeVar("T")

KEY_FILE = Path(__file__).resolve().parent.parent / "key_file.json"
MANAGEMENT_ADDRESS = "http://127.0.0.1:8081"
MARGIN_S = 300.0
MARGIN_SHARE = 0.2  # of a key's life: where keys live for a minute only, five minutes ahead would be always
RENEWAL_TIMEOUT_S = 10.0
PAUSE_S = 10.0  # between two failing renewals while the key is still good
WRITING_S = 5.0  # TorchServe writes the file in place: for a moment it is empty; a busy machine makes it a long one
ROTATION_S = 2.0  # and for a moment it holds a key that the server has already replaced
POLL_S = 0.02

log = logging.getLogger(__name__)


class KeySource(Protocol):
    """Where a client has its keys from."""

    def headers(self, scope: Scope) -> dict[str, str]:
        """The header that carries the key; empty where none is needed."""

    def rotated(self, headers: Mapping[str, str], scope: Scope) -> bool:
        """After these headers were refused: whether there is another key by now."""


class NoKeys:
    """For servers that run with `disable_token_authorization=true`."""

    def headers(self, scope: Scope) -> dict[str, str]:
        return {}

    def rotated(self, headers: Mapping[str, str], scope: Scope) -> bool:
        return False


@dataclass(frozen=True)
class FixedKeys:
    """Keys that last, as those which a proxy gives to its clients."""

    inference: str = ""
    management: str = ""

    def headers(self, scope: Scope) -> dict[str, str]:
        return _header(getattr(self, scope)) if getattr(self, scope) else {}

    def rotated(self, headers: Mapping[str, str], scope: Scope) -> bool:
        """True after a moment, once: it may be TorchServe that refused the proxy's key, which is just being renewed."""
        time.sleep(ROTATION_S)
        return bool(headers)


@dataclass(frozen=True)
class _Key:
    text: str
    expires_at_s: float  # on the clock of time.time()

    @property
    def left_s(self) -> float:
        return self.expires_at_s - time.time()


@dataclass(frozen=True)
class _KeyFile:
    """One reading of the file; `stamp` tells whether it has been written since."""

    stamp: tuple[int, int, int]
    inference: _Key
    management: _Key
    api: str
    written_at_s: float

    @property
    def life_s(self) -> float:
        """For how long a fresh key is good: the file is written when one is made."""
        return max(self.inference.expires_at_s, self.management.expires_at_s) - self.written_at_s


class Keys:
    """The keys that TorchServe wrote; read from key_file.json, renewed before they expire. Safe to share by threads.

    Args:
        path: the key file; it need not be there yet.
        management_address: where keys are renewed.
        verify: False, or a file of certificates to trust, for https.
        margin_s: how long before its end a key is renewed; less where keys live for less than five times that.
    """

    def __init__(
        self, path: Path, management_address: str, *, verify: bool | str = True, margin_s: float = MARGIN_S
    ) -> None:
        self.path = path
        self.management_address = management_address
        self.verify = verify
        self.margin_s = margin_s
        self._lock = threading.Lock()  # of what was read
        self._renewing = threading.Lock()
        self._file: _KeyFile | None = None
        self._failed_at_s = -PAUSE_S

    def bearer(self, scope: Scope) -> str:
        """A key that is good now, renewed if its end is near.

        Raises:
            KeyRefused: there is no key file, or its key has expired and could not be renewed.
        """
        key, fresh = self._look(scope)
        # While a key is good, nobody waits for the one who renews it.
        if fresh or not self._renewing.acquire(blocking=key.left_s <= 0):
            return key.text
        try:
            return self._renew(scope)
        except FileNotFoundError:
            return key.text
        finally:
            self._renewing.release()

    def headers(self, scope: Scope) -> dict[str, str]:
        """`{"Authorization": "Bearer ..."}`; empty where there is no key file, as of a server without authorization.

        Raises:
            KeyRefused: the key has expired and could not be renewed.
        """
        return _header(self.bearer(scope)) if self._file or self.path.exists() else {}

    def rotated(self, headers: Mapping[str, str], scope: Scope) -> bool:
        """After these headers were refused: whether the file has another key by now, or within a moment."""
        deadline = time.monotonic() + ROTATION_S
        while self.headers(scope) == headers:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _look(self, scope: Scope) -> tuple[_Key, bool]:
        """The key as the file has it now, and whether its end is far."""
        with self._lock:
            file = self._read()
        key: _Key = getattr(file, scope)
        return key, key.left_s > min(self.margin_s, MARGIN_SHARE * file.life_s)

    def _read(self) -> _KeyFile:
        """The file as it is now; TorchServe may be writing it."""
        deadline = time.monotonic() + WRITING_S
        while True:
            try:
                stat = self.path.stat()
                stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if self._file is None or self._file.stamp != stamp:
                    self._file = _parse(self.path.read_text(), stamp)
                return self._file
            except FileNotFoundError as error:
                if self._file:  # `torchserve --stop` removes it first, and the server goes on to its last request
                    return self._file
                raise KeyRefused(f"there is no key file {self.path}: is the server running?") from error
            except PermissionError as error:
                raise KeyRefused(f"{self.path} belongs to the user who started TorchServe: {error.strerror}") from error
            except (ValueError, KeyError, TypeError) as error:
                if time.monotonic() > deadline:
                    raise KeyRefused(f"{self.path} is not a key file of TorchServe: {error!r}") from error
                time.sleep(POLL_S)

    def _renew(self, scope: Scope) -> str:
        """A new key, made by us or by a client that was quicker; the old one if that failed and it is still good."""
        with self.path.open("rb") as locked:
            # The lock is on the file itself, which TorchServe writes in place: nothing is left over.
            fcntl.flock(locked, fcntl.LOCK_EX)
            key, fresh = self._look(scope)
            if fresh or (key.left_s > 0 and time.monotonic() < self._failed_at_s + PAUSE_S):
                return key.text
            try:
                response = requests.get(
                    f"{self.management_address}/token",
                    params={"type": scope},
                    headers=_header(self._file.api),  # type: ignore[union-attr]  # read above
                    timeout=RENEWAL_TIMEOUT_S,
                    verify=self.verify,
                )
                response.raise_for_status()
            except requests.RequestException as error:
                self._failed_at_s = time.monotonic()
                if key.left_s > 0:
                    log.warning("the %s key ends in %.0f s and could not be renewed: %s", scope, key.left_s, error)
                    return key.text
                raise KeyRefused(
                    f"the {scope} key of {self.path} has expired and cannot be renewed: {error}"
                ) from error
            return self._look(scope)[0].text


def with_key(keys: KeySource, scope: Scope, call: Callable[[Mapping[str, str]], T]) -> T:
    """Makes the call with the header of a key, and once more if that was refused and there is another by now.

    Raises:
        KeyRefused: what the call raises of its own when the server refuses the key.
    """
    headers = keys.headers(scope)
    try:
        return call(headers)
    except KeyRefused as error:
        if isinstance(error, ClientUnknown) or not keys.rotated(headers, scope):
            raise
        return call(keys.headers(scope))


def find_keys(margin_s: float = MARGIN_S) -> Keys | FixedKeys:
    """The keys that the environment names, or else those of the server that this project starts."""
    fixed = FixedKeys(*(os.environ.get(f"DEEPDETECT_{scope.upper()}_KEY", "") for scope in get_args(Scope)))
    if fixed.inference or fixed.management:
        return fixed
    state = os.environ.get("DEEPDETECT_STATE")
    path = Path(os.environ.get("DEEPDETECT_KEY_FILE") or (Path(state, KEY_FILE.name) if state else KEY_FILE))
    management_address = os.environ.get("DEEPDETECT_MANAGEMENT_ADDRESS") or MANAGEMENT_ADDRESS
    return Keys(path, management_address, verify=trusted(), margin_s=margin_s)


def trusted() -> bool | str:
    """What to check https certificates against: the file DEEPDETECT_CA_FILE, or those that the system trusts."""
    return os.environ.get("DEEPDETECT_CA_FILE") or True


def _header(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _parse(text: str, stamp: tuple[int, int, int]) -> _KeyFile:
    record = json.loads(text)
    inference, management = (
        _Key(record[scope]["key"], _seconds(record[scope]["expiration time"])) for scope in get_args(Scope)
    )
    return _KeyFile(stamp, inference, management, record["API"]["key"], stamp[1] / 1e9)


def _seconds(instant: str) -> float:
    """`2026-11-24T10:00:00.123456789Z`, as Java prints it, in seconds since 1970."""
    whole, _, fraction = instant.removesuffix("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction or 0}")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the header; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m client.keys",
        description="Print the header that carries the server's key, renewed if it is about to expire.",
        epilog='example: curl -H "$(python -m client.keys)" -T clip.mp4 http://127.0.0.1:8080/predictions/ensemble',
    )
    parser.add_argument("scope", nargs="?", choices=get_args(Scope), default="inference", help="the API (%(default)s)")
    parser.add_argument("--bare", action="store_true", help="print the key alone")
    args = parser.parse_args(argv)
    try:
        keys = find_keys()
        header = _header(keys.bearer(args.scope)) if isinstance(keys, Keys) else keys.headers(args.scope)
    except ClientError as error:
        print(f"keys: {error}", file=sys.stderr)
        return 1
    for name, value in header.items():
        print(value.removeprefix("Bearer ") if args.bare else f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
