"""What a cache hit costs through a real TorchServe: against a handler that only receives and hashes, and a miss.

    python -m loadtest.measure.cache_cost [--clip FILE] [--repeats N] [--misses N] [--write]

It starts a server of its own on the built archives. Every candidate takes its turn, so that what else the machine does
hits all of them alike. A lone request waits the batch delay of its model, so the hashing handler has the same; both are
measured without one as well.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from client.inference import HttpClient
from client.padding import unique
from loadtest.measure.archive_copies import build_archive, copy_archive, model_config
from loadtest.measure.machine import describe_machine
from loadtest.report.markdown import from_rich
from loadtest.report.readme import Place
from operations.server import PROJECT_DIR, TorchServe

STORE = PROJECT_DIR / "archives"
PLACE = Place("docs/results.md", "<!-- cache: `make bench-cache WRITE=1` writes it -->", "<!-- /cache -->")
N_WARM_UP = 10

# All that a server cannot do without: the body, and the digest by which it is known.
HASHING_HANDLER = """
import hashlib
import json


class HashingHandler:
    def initialize(self, context):
        pass

    def handle(self, rows, context):
        bodies = [row.get("data") or row.get("body") or b"" for row in rows]
        return [json.dumps({"sha256": hashlib.sha256(body).hexdigest()}) for body in bodies]
"""


@dataclass(frozen=True)
class Served:
    """One archive in the bench's own model store.

    Attributes:
        name: model name on the server.
        source: archive of the project that it is made of; empty for the hashing handler.
        baseline: model that shows what receiving and hashing costs under the same batch settings.
        settings: what differs in its model configuration.
    """

    name: str
    source: str
    baseline: str
    settings: dict[str, Any]


ALONE = {"batchSize": 1}
QUANTIZED = {"handler": {"variant": "int8"}}
SERVED = (
    Served("receive", "", "receive", {}),
    Served("receive_alone", "", "receive_alone", ALONE),
    Served("video", "video", "receive", {}),
    Served("video_int8", "video", "receive", QUANTIZED),
    Served("audio", "audio", "receive", {}),
    Served("ensemble", "ensemble", "receive", {}),
    Served("ensemble_alone", "ensemble", "receive_alone", ALONE),
)


def fill_store(store: Path) -> None:
    """Writes the archives to measure: the project's with other settings, and the hashing handler."""
    store.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="cache-cost-") as temporary:
        handler = Path(temporary, "hashing.py")
        handler.write_text(HASHING_HANDLER)
        for served in SERVED:
            source = STORE / f"{served.source or 'ensemble'}.mar"
            if served.source:
                copy_archive(source, store / f"{served.name}.mar", served.settings)
            else:
                config = {key: value for key, value in model_config(source).items() if key != "handler"}
                build_archive(store / f"{served.name}.mar", handler, config | served.settings)


def measure_ms(client: HttpClient, clip: bytes, n_repeats: int, n_misses: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of every call, by model and by `hit` or `miss`; those of the hashing handlers count as hits.

    Raises:
        RuntimeError: a call was not what it was meant to be.
    """
    times: dict[str, dict[str, list[float]]] = {served.name: {"hit": [], "miss": []} for served in SERVED}

    def call(served: Served, wanted: str, data: bytes) -> float:
        started = time.perf_counter()
        body = client.predict(served.name, data).body
        elapsed_ms = 1e3 * (time.perf_counter() - started)
        if served.source and body.get("cache") != wanted:
            raise RuntimeError(f"{served.name}: a {wanted} was expected, and this came: {body}")
        return elapsed_ms

    for served in SERVED:
        client.predict(served.name, clip)  # whatever it is, the next one is a hit
    for index in track(range(N_WARM_UP + n_repeats), "hits", transient=True):
        for served in SERVED:
            elapsed_ms = call(served, "hit", clip)
            if index >= N_WARM_UP:
                times[served.name]["hit"].append(elapsed_ms)
    for _ in track(range(n_misses), "misses", transient=True):
        for served in SERVED:
            times[served.name]["miss"].append(call(served, "miss", unique(clip)))
    return times


def cost_table(times: dict[str, dict[str, list[float]]], clip: Path) -> Table:
    """One row a model."""
    title = f"{clip.name}, {clip.stat().st_size / 2**20:.2f} MiB: milliseconds of a request over HTTP, medians"
    table = Table(title=title, title_justify="left")
    for heading in ("model", "receive, hash", "hit", "hit / receive, hash", "miss", "miss / hit"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for served in SERVED:
        if not served.source:
            continue
        baseline = statistics.median(times[served.baseline]["hit"])
        hit, miss = (statistics.median(times[served.name][outcome]) for outcome in ("hit", "miss"))
        name = served.name + (" (no batch delay)" if served.settings is ALONE else "")
        table.add_row(
            name, f"{baseline:.2f}", f"{hit:.2f}", f"{hit / baseline:.2f}", f"{miss:.1f}", f"{miss / hit:.0f}"
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.measure.cache_cost", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--clip", type=Path, default=PROJECT_DIR / "build" / "sample.mp4", help="mp4 file to send")
    parser.add_argument("--repeats", type=int, default=200, metavar="N", help="hits of each model (%(default)s)")
    parser.add_argument("--misses", type=int, default=15, metavar="N", help="misses of each model (%(default)s)")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PLACE.page}")
    options = parser.parse_args(arguments)
    for path in (options.clip, *(STORE / f"{served.source}.mar" for served in SERVED if served.source)):
        if not path.exists():
            parser.error(f"{path} is not there; `make archive sample` makes it")
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="cache-cost-") as folder, ExitStack() as running:
        directory = Path(folder)
        fill_store(directory / "store")
        server = TorchServe.private(directory / "server", directory / "store", [served.name for served in SERVED])
        with console.status(f"waiting for {len(SERVED)} models"):
            running.enter_context(server.running(drain_timeout_s=0))
        times = measure_ms(server.http_client(), options.clip.read_bytes(), options.repeats, options.misses)
    table, machine = cost_table(times, options.clip), str(describe_machine())
    how = f"medians of {options.repeats} hits and {options.misses} misses, models in turns, one client"
    for part in (machine, table, how):
        console.print(part)
    if options.write:
        page = PROJECT_DIR / PLACE.page
        written = f"{from_rich(table)}\n{how.capitalize()}. {machine}.\n"
        page.write_text(PLACE.filled(page.read_text(encoding="utf-8"), written), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
