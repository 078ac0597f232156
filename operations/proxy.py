"""The nginx before TorchServe: its configuration, the keys of its clients, and TorchServe's own key.

    python -m operations.proxy write /etc/deepdetect-proxy --http-listen 0.0.0.0:9080
    python -m operations.proxy add-client /etc/deepdetect-proxy newsroom       prints the key to give to that client
    nginx -c /etc/deepdetect-proxy/nginx.conf
    python -m operations.proxy follow /etc/deepdetect-proxy                    keeps TorchServe's key good; runs on
    python -m operations.proxy run /var/run/proxy --clients /etc/clients.map   all of it in one process, for a container

`write` may be run again, with other limits; clients keep their keys. After it and after `add-client` a running nginx
is told to read its configuration again. `follow` and `run` can tell an orchestrator how the server is
(`--probe-listen`), and give models more workers than their archives ask for (`--workers ensemble=2`).
"""

from __future__ import annotations

import argparse
import math
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

from client.errors import ClientError
from client.keys import KeySource, find_keys
from operations.probes import ServerWatch, serve_probes
from operations.serve import SAMPLE
from operations.server import TorchServe
from operations.settings import PROJECT_DIR, read_properties

TEMPLATE = PROJECT_DIR / "config" / "deploy" / "nginx.conf.template"
CLIENTS = "clients.map"
UPSTREAM_KEY = "upstream_key.conf"
FOLLOW_MARGIN_S = 900.0  # before any other client of this machine would renew, so that nginx hears of it at once
FOLLOW_EVERY_S = 1.0
UNSAFE = r"[\s;{}$'\"\\]"  # would end a value in nginx's configuration, or mean something in it
PROBES = 'location ~ ^/(live|ready)$ { proxy_pass http://ADDRESS; proxy_set_header Authorization ""; }'
CLIENT_NAME = r"[A-Za-z0-9._-]{1,64}"


@dataclass(frozen=True)
class ProxySettings:
    """What `write` fills into the template.

    Attributes:
        http_listen: address and port for HTTP.
        grpc_listen: address and port for gRPC.
        inference: host and port of TorchServe's inference API.
        grpc_inference: host and port of its gRPC inference service.
        ready_model: the model whose workers tell at /v2/health/ready.
        rate_per_minute: requests that each client may send a minute, in the long run.
        burst: requests above that rate which may come at once.
        max_connections: requests of one client at the same time.
        max_body_bytes: largest body; that of TorchServe (`max_request_size`) unless told otherwise.
        read_timeout_s: how long TorchServe may take: its queue and `responseTimeout`.
        certificate: PEM file for TLS; none for plain HTTP behind something that ends TLS.
        certificate_key: its private key.
        user: whom nginx's workers run as, when root starts it.
        clients: the file with the clients' keys, if it is not `clients.map` in the directory: a mounted secret.
        probes: host and port of the probes (`--probe-listen`), to be had as /live and /ready; none: not there.
        access_log: the file with a line a request, if it is not `access.log` in the directory, such as /dev/stdout.
        processes: of nginx; `auto` is one a core of the machine, which a container's quota does not change.
    """

    http_listen: str = "127.0.0.1:9080"
    grpc_listen: str = "127.0.0.1:9070"
    inference: str = "127.0.0.1:8080"
    grpc_inference: str = "127.0.0.1:7070"
    ready_model: str = "ensemble"
    rate_per_minute: int = 60
    burst: int = 20
    max_connections: int = 8
    max_body_bytes: int = int(read_properties(PROJECT_DIR / "config" / "config.properties")["max_request_size"])
    read_timeout_s: int = 150
    certificate: str = ""
    certificate_key: str = ""
    user: str = "www-data"
    clients: str = ""
    probes: str = ""
    access_log: str = ""
    processes: str = "auto"

    def __post_init__(self) -> None:
        for name in ("rate_per_minute", "max_connections", "max_body_bytes", "read_timeout_s"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.burst < 0:
            raise ValueError(f"burst is {self.burst}; it must be 0 or more")
        if bool(self.certificate) != bool(self.certificate_key):
            raise ValueError("certificate and certificate_key: give both, or none")
        for name in (field.name for field in fields(self)):
            if re.search(UNSAFE, str(getattr(self, name))):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; spaces and nginx's own characters are not allowed"
                )

    @property
    def retry_after_s(self) -> int:
        """Seconds after which a client that was sent away has room for one more request."""
        return math.ceil(60 / self.rate_per_minute)


def write(directory: Path, settings: ProxySettings, keys: KeySource) -> Path:
    """Writes nginx.conf and TorchServe's key, and an empty list of clients if there is none; returns nginx.conf.

    Raises:
        ValueError: the directory's path has characters that nginx would misread.
        KeyRefused: TorchServe's key cannot be had.
    """
    directory = directory.absolute()
    if re.search(UNSAFE, str(directory)):
        raise ValueError(f"the directory is {str(directory)!r}; spaces and nginx's own characters are not allowed")
    directory.mkdir(parents=True, exist_ok=True)
    tls = ""
    if settings.certificate:
        certificate, key = Path(settings.certificate).absolute(), Path(settings.certificate_key).absolute()
        paths = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
        tls = f"{paths} ssl_protocols TLSv1.2 TLSv1.3;"
    values = {field.name.upper(): str(getattr(settings, field.name)) for field in fields(settings)}
    values |= {
        "DIRECTORY": str(directory),
        "MAIN": f"user {settings.user};" if os.geteuid() == 0 else "",
        "VERSION": version("deepdetect"),
        "RETRY_AFTER_S": str(settings.retry_after_s),
        "TLS": tls,
        "CLIENTS": settings.clients or str(directory / CLIENTS),
        "ACCESS_LOG": settings.access_log or str(directory / "access.log"),
        "ERROR_LOG": "stderr" if settings.access_log.startswith("/dev/") else str(directory / "error.log"),
        "PROBES": PROBES.replace("ADDRESS", settings.probes) if settings.probes else "",
    }
    if settings.certificate:
        values["HTTP_LISTEN"] += " ssl"
        values["GRPC_LISTEN"] += " ssl"
    rendered = re.sub(r"\$\{([A-Z_]+)\}", lambda match: values[match[1]], TEMPLATE.read_text(encoding="utf-8"))
    if not settings.clients:
        (directory / CLIENTS).touch(mode=0o600)
    update_key(directory, keys)
    (directory / "nginx.conf").write_text(rendered, encoding="utf-8")
    return directory / "nginx.conf"


def add_client(directory: Path, name: str) -> str:
    """Gives a client a key; a name may have several, which share one limit.

    Raises:
        ValueError: the name has characters that are not allowed.
    """
    if not re.fullmatch(CLIENT_NAME, name):
        raise ValueError(f"the name is {name!r}; letters, digits, '.', '_' and '-' are allowed, 64 of them")
    key = secrets.token_urlsafe(24)
    with (directory / CLIENTS).open("a") as clients:
        clients.write(f'"Bearer {key}" {name};\n')
    return key


def update_key(directory: Path, keys: KeySource) -> bool:
    """Writes TorchServe's inference key for nginx; whether it is another one than before."""
    value = keys.headers("inference").get("Authorization", "")
    line = f'map "" $torchserve_key {{ default "{value}"; }}\n'
    path = directory / UPSTREAM_KEY
    if path.exists() and path.read_text() == line:
        return False
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(line)
    partial.replace(path)
    return True


def reload(directory: Path) -> bool:
    """Tells a running nginx to read its configuration again; False when none runs."""
    try:
        os.kill(int((directory / "nginx.pid").read_text()), signal.SIGHUP)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return False
    return True


def follow(
    directory: Path, keys: KeySource, clients: Path | None = None, stopped: threading.Event | None = None
) -> None:
    """Renews TorchServe's key ahead of everybody else, and takes up a new one within a second, until told to stop.

    Args:
        clients: a file of clients' keys that changes by other hands than `add-client`: nginx reads it anew, too.
    """
    stopped = stopped or threading.Event()
    failing, known = False, _stamp(clients)
    while not stopped.wait(FOLLOW_EVERY_S):
        try:
            changed = ["TorchServe has another key"] if update_key(directory, keys) else []
            failing = False
        except ClientError as error:  # TorchServe is down; it will be back with other keys
            changed = []
            if not failing:
                print(f"proxy: {error}", file=sys.stderr, flush=True)
            failing = True
        if (stamp := _stamp(clients)) != known:
            changed.append("the clients have changed")
            known = stamp
        for change in changed:
            print(f"{change}; nginx {'reloads' if reload(directory) else 'is not running'}", flush=True)


def run(directory: Path, settings: ProxySettings, keys: KeySource) -> int:
    """Writes the configuration, runs nginx and follows; on SIGTERM lets nginx finish. Returns its exit status."""
    config = write(directory, settings, keys)
    nginx = subprocess.Popen(["nginx", "-p", str(directory), "-e", "stderr", "-c", str(config), "-g", "daemon off;"])
    stopped = threading.Event()
    clients = Path(settings.clients) if settings.clients else None
    threading.Thread(target=follow, args=(directory, keys, clients, stopped), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: nginx.send_signal(signal.SIGQUIT))  # to nginx that means: finish, then end
    try:
        return nginx.wait()
    finally:
        stopped.set()


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """Changes whenever the file does, be it replaced or, as Kubernetes does it, the link to its folder."""
    try:
        stat = path.stat() if path else None
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns) if stat else None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "write":
            print(write(args.directory, _settings(args), _keys()))
            reload(args.directory)
        elif args.command == "add-client":
            print(add_client(args.directory, args.name))
            reload(args.directory)
        else:
            if args.probe_listen:
                _watch(args)
            if args.command == "run":
                return run(args.directory, _settings(args), _keys())
            follow(args.directory, _keys())
    except (ClientError, ValueError, OSError) as error:
        print(f"proxy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m operations.proxy", description="Put nginx before TorchServe.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("write", "write nginx's configuration"),
        ("add-client", "make a key for a client, and print it"),
        ("follow", "renew TorchServe's key and reload nginx when it has changed; runs on"),
        ("run", "write nginx's configuration, run nginx, and follow; for a container"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("directory", type=Path, help="where nginx.conf, the keys and the logs are")
        if name == "add-client":
            command.add_argument("name", help="how the client is called in the log")
        if name in ("write", "run"):
            for field in fields(ProxySettings):
                option = "--" + field.name.replace("_", "-")
                command.add_argument(option, type=type(field.default), default=field.default, help="(%(default)s)")
        if name in ("follow", "run"):
            command.add_argument(
                "--probe-listen", metavar="ADDRESS", help="host and port where /live and /ready tell how the server is"
            )
            command.add_argument(
                "--workers",
                action="append",
                default=[],
                type=_wanted,
                metavar="MODEL=N",
                help="with --probe-listen: give a model N workers; as its archive says where left out",
            )
    return parser


def _wanted(text: str) -> tuple[str, int]:
    model, _, number = text.partition("=")
    if not model or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: the name of a model, = and a number from 1")
    return model, int(number)


def _settings(args: argparse.Namespace) -> ProxySettings:
    return ProxySettings(**{field.name: getattr(args, field.name) for field in fields(ProxySettings)})


def _watch(args: argparse.Namespace) -> None:
    """Looks after the project's server in the background, and tells how it is."""
    server = TorchServe.of_project()
    watch = ServerWatch(server, SAMPLE.read_bytes(), dict(args.workers))
    serve_probes(watch, args.probe_listen)
    watch.start()


def _keys() -> KeySource:
    return find_keys(margin_s=FOLLOW_MARGIN_S)


if __name__ == "__main__":
    sys.exit(main())
