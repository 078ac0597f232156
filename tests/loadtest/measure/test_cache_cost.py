"""What the cache benchmark compares; it is run by hand."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from loadtest.measure import cache_cost


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    if not all((cache_cost.STORE / f"{model}.mar").exists() for model in ("video", "audio", "ensemble")):
        pytest.fail("the archives are not there: run `make archive` first, or `make test`")
    store = tmp_path_factory.mktemp("bench") / "store"
    cache_cost.fill_store(store)
    return store


def settings_of(archive: Path) -> tuple[str, dict]:
    """Model name and configuration in an archive."""
    with zipfile.ZipFile(archive) as opened:
        model = json.loads(opened.read("MAR-INF/MANIFEST.json"))["model"]
        return model["modelName"], yaml.safe_load(opened.read(model["configFile"]))


@pytest.mark.parametrize("served", cache_cost.SERVED, ids=lambda served: served.name)
def test_a_model_and_its_baseline_differ_in_the_handler_alone(store, served):
    name, config = settings_of(store / f"{served.name}.mar")
    _, baseline = settings_of(store / f"{served.baseline}.mar")
    assert name == served.name
    batching = ("maxBatchDelay", "minWorkers", "maxWorkers")
    assert [config[key] for key in batching] == [baseline[key] for key in batching]
    assert (config["batchSize"] == 1) == (baseline["batchSize"] == 1) == served.name.endswith("_alone")
    assert ("handler" in config) == bool(served.source)
    if served.source:
        assert config["handler"]["variant"] == ("int8" if served.name == "video_int8" else "auto")
        assert config["handler"]["cache"]["max_items"] > 0


def test_the_table_holds_medians_and_their_ratios(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(2**20))
    times = {served.name: {"hit": [4.0, 5.0, 90.0], "miss": [500.0, 700.0, 600.0]} for served in cache_cost.SERVED}
    for baseline in ("receive", "receive_alone"):
        times[baseline]["hit"] = [4.0, 1.0, 7.0]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(cache_cost.cost_table(times, clip))
    rows = [line for line in console.export_text().splitlines() if "600.0" in line]
    assert len(rows) == sum(bool(served.source) for served in cache_cost.SERVED)
    for row in rows:
        assert [cell.strip() for cell in row.split("│")[2:-1]] == ["4.00", "5.00", "1.25", "600.0", "120"]


def test_every_upload_of_a_miss_is_new():
    assert len({cache_cost.unique(b"clip") for _ in range(10)}) == 10
