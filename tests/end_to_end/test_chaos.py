"""The short form of `make chaos`: a worker is killed, the queue is full, the server is stopped, all under load."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from loadtest.chaos import Row, fill_queue, kill_worker, short_queued, stop_under_load, table
from samples.clip import make_sample


def test_nothing_is_lost_but_what_must_be(tmp_path, model_store, capsys):
    clip = make_sample(tmp_path / "clip.mp4", duration_s=2.0, width=480, height=360).read_bytes()
    with short_queued(tmp_path / "torchserve").running(drain_timeout_s=0) as server:
        rows: Sequence[Row] = [*kill_worker(server, clip), *fill_queue(server, clip), *stop_under_load(server, clip)]
    with capsys.disabled():
        Console(width=130).print(table(rows))
    assert [row for row in rows if not row.is_well] == []
