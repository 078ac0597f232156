"""What `make serve` and `make stop` run, and a container.

By hand:

    python -m operations.serve               start the server if need be, judge the sample, leave the server running
    python -m operations.serve --stop        let it finish what it has, and stop it
    python -m operations.serve --foreground  become the server, as the main process of a container
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from client.errors import ClientError
from client.reply import Reply
from operations.archive import read_archive
from operations.server import ServerError, TorchServe
from operations.settings import PROJECT_DIR

SAMPLE = PROJECT_DIR / "build" / "sample.mp4"
MODEL = "ensemble"
PARTS = ("video", "audio")

console = Console()


def serve(server: TorchServe, clip: Path) -> None:
    """Starts the server unless it already serves these archives, and shows what it makes of the clip.

    Raises:
        ServerError: the server or a model does not come up, or the clip is refused.
    """
    start_if_needed(server)
    data = clip.read_bytes()
    http, grpc = server.http_client(), server.grpc_client()
    for model in server.models:  # READY says that a worker runs; an answer says that it works
        if model != MODEL:
            _judged(http.predict(model, data))
    calls: dict[str, Callable[[], Reply]] = {
        "HTTP": lambda: http.predict(MODEL, data, file_name=clip.name),
        "gRPC": lambda: grpc.predict(MODEL, data, file_name=clip.name),
    }
    table = Table("over", "file", "verdict", "p_fake", "video", "audio", "cache", "round trip", title=f"model {MODEL}")
    for name, call in calls.items():
        started = time.perf_counter()
        body = _judged(call()).body
        elapsed_ms = 1_000 * (time.perf_counter() - started)
        scored = [body["modalities"].get(part, {}).get("p_fake") for part in PARTS]
        parts = ["-" if p_fake is None else f"{p_fake:.4f}" for p_fake in scored]
        verdict, p_fake = body["prediction"], f"{body['probabilities']['fake']:.4f}"
        table.add_row(name, body["file_name"], verdict, p_fake, *parts, body["cache"], f"{elapsed_ms:.0f} ms")
    console.print(table)
    console.print(_usage(server, clip), markup=False, highlight=False, soft_wrap=True)


def start_if_needed(server: TorchServe) -> None:
    """Starts the server, or starts it again when the archives have changed since."""
    for model, archive in server.archives.items():
        if archive != f"{model}.mar":
            console.print(f"{model}: {archive} was promoted, and is served instead of {model}.mar")
    with console.status("waiting for TorchServe"):
        if server.process:
            server.wait_until_ready([])
            if all(_is_current(server, model) for model in server.models):
                console.print("TorchServe is already running")
                return
            console.print("the archives have changed since TorchServe was started; starting it again")
            server.stop()
        started = time.perf_counter()
        server.start()
        server.wait_until_ready()
    console.print(f"TorchServe is ready after {time.perf_counter() - started:.0f} s: {', '.join(server.models)}")


def _is_current(server: TorchServe, model: str) -> bool:
    """Whether what is served is what lies in the model store, or what was promoted."""
    served = server.describe(model) or {}
    stored = read_archive(server.model_store / server.archives[model])
    told = served.get("customizedMetadata", {})
    return (told.get("version"), told.get("digest")) == (stored.version, stored.digest)


def _judged(reply: Reply) -> Reply:
    if reply.error_code:
        raise ServerError(f"the clip was refused: {reply.body['error']['message']}")
    return reply


def _usage(server: TorchServe, clip: Path) -> str:
    address = f"{server.inference}/predictions/{MODEL}"
    shown = clip.relative_to(Path.cwd()) if clip.is_relative_to(Path.cwd()) else clip
    return f"""
Call it; `make -s key` prints the header with the server's key, `Authorization: Bearer ...`:
  curl {address} -H "$(make -s key)" -T {shown}
  curl {address} -H "$(make -s key)" -F data=@{shown} -F frames=16
  curl {address} -H "$(make -s key)" -T {shown} -H 'X-DeepDetect-Options: {{"frames": 16, "modality": "video"}}'
  (printf '{{"data": "'; base64 {shown} | tr -d '\\n'; printf '"}}') |
    curl {address} -H "$(make -s key)" -H 'Content-Type: application/json' -d @-
  gRPC: {server.grpc_inference}, org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions
Models: {", ".join(server.models)}. Logs: {server.environment["LOG_LOCATION"]}. Stop it: make stop
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m operations.serve", description="Serve the archives, or stop serving."
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--stop", action="store_true", help="let the server finish what it has, and stop it")
    mode.add_argument("--foreground", action="store_true", help="become the server, and judge nothing")
    parser.add_argument(
        "--drain-timeout", type=float, default=30.0, metavar="S", help="--stop: how long that may take (%(default)s s)"
    )
    parser.add_argument("--clip", type=Path, default=SAMPLE, help="file to judge once the server is up (%(default)s)")
    args = parser.parse_args(argv)
    server = TorchServe.of_project()
    try:
        if args.stop:
            stopped = server.stop(args.drain_timeout)
            console.print("TorchServe has stopped" if stopped else "TorchServe was not running")
        elif args.foreground:
            server.become()
        else:
            serve(server, args.clip)
    except (ServerError, ClientError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
