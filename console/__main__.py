"""Starts the console; `make console` runs this.

python -m console                                 http://127.0.0.1:8090, for this machine alone
python -m console --host 0.0.0.0 --allow-host review.example.org --tls-certificate c.pem --tls-key k.pem
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from console.app import create_app
from console.settings import ConsoleSettings, is_loopback, new_token


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = ConsoleSettings()
    found = argparse.ArgumentParser(
        prog="python -m console", description="A page to review clips with, over TorchServe."
    )
    add = found.add_argument
    add("--host", default=defaults.host, help="address to listen on; default: %(default)s, this machine alone")
    add("--port", type=int, default=defaults.port, help="default: %(default)s")
    add("--inference", default=defaults.inference, metavar="URL", help="inference API; default: %(default)s")
    add(
        "--management",
        default=defaults.management,
        metavar="URL",
        help="management API, '' for none; default: %(default)s",
    )
    add("--metrics", default=defaults.metrics, metavar="URL", help="metrics API, '' for none; default: %(default)s")
    add("--model", default=defaults.model, help="the model that judges; default: %(default)s")
    add("--key-file", type=Path, metavar="FILE", help="TorchServe's key file; default: as client/keys.py finds it")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a name by which browsers reach the page")
    add("--token", default="", help="asked of every browser; made and printed where --host is not loopback")
    add("--tls-certificate", type=Path, metavar="FILE", help="serve https; cameras need it off loopback")
    add("--tls-key", type=Path, metavar="FILE", help="private key of the certificate")
    add(
        "--parallel",
        type=int,
        default=defaults.n_parallel,
        metavar="N",
        help="files sent at once; default: %(default)s",
    )
    add("--keep", type=Path, metavar="DIR", help="keep uploads in DIR when a session ends; default: they are deleted")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the console until it is interrupted; returns the exit status."""
    options = parser().parse_args(argv)
    token = options.token or ("" if is_loopback(options.host) else new_token())
    try:
        settings = ConsoleSettings(
            host=options.host,
            port=options.port,
            inference=options.inference.rstrip("/"),
            management=options.management.rstrip("/"),
            metrics=options.metrics.rstrip("/"),
            model=options.model,
            key_file=options.key_file.resolve() if options.key_file else None,
            allowed_hosts=tuple(options.allow_host),
            token=token,
            n_parallel=options.parallel,
            keep_dir=options.keep,
        )
    except ValueError as error:
        print(f"console: {error}", file=sys.stderr)
        return 2
    scheme = "https" if options.tls_certificate else "http"
    host = options.allow_host[0] if options.allow_host else settings.host
    print(f"The console: {scheme}://{host}:{settings.port}/" + (f"?token={token}" if token else ""), flush=True)
    if token and scheme == "http" and not is_loopback(settings.host):
        print(
            "Without --tls-certificate the token and the files travel in the clear, and cameras stay off.", flush=True
        )
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
        log_level="warning",
        access_log=False,  # a line would hold the token of the first visit
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
