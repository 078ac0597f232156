"""The tuner measures settings on a real server, which goes on running while models come and go."""

from __future__ import annotations

from loadtest.tuning.bench import Bench
from loadtest.tuning.record import Record
from loadtest.tuning.search import Rung
from loadtest.tuning.space import Setting
from operations.server import TorchServe

LONE = Setting(workers=1, batch_size=1, delay_ms=1, decode_threads=1)
SHARED = Setting(workers=2, batch_size=4, delay_ms=20, decode_threads=2)


def test_each_setting_is_served_measured_and_taken_away_again(model_store, sample_clip, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    record = Record(tmp_path / "measured.jsonl", {"of": "this test"})
    with TorchServe.private(tmp_path / "server", store).running(drain_timeout_s=0) as server:
        seen = {}

        def tell(text: str, done_s: float) -> None:
            for model in server.management_api.models() if done_s == 0 and text else ():
                described = server.describe(model)
                seen[text] = (described["batchSize"], described["maxBatchDelay"], len(described["workers"]))

        bench = Bench(server, store, model_store / "audio.mar", sample_clip.read_bytes(), 8, record, 600, tell)
        points = bench.measure([LONE, SHARED], 0, Rung(1, 0.3))
        bench.budget_s = 0.0  # nothing but the first setting, which is the one in force
        assert list(bench.measure([LONE, SHARED], 1, Rung(1, 0.3))) == [LONE]
        assert bench.n_left_out == 1
        assert server.management_api.models() == []
    assert seen[str(LONE)] == (1, 1, 1)
    assert seen[str(SHARED)] == (4, 20, 2)
    assert list(store.iterdir()) == []
    for setting in (LONE, SHARED):
        (point,) = points[setting]
        assert point.throughput_hz > 0
        assert point.cpu_ms > 0
    again = Bench(server, store, model_store / "audio.mar", b"", 8, Record(record.path, {"of": "this test"}))
    assert again.measure([LONE, SHARED], 0, Rung(1, 0.3)) == points  # of the record; the server is gone
