from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from training import bench
from training.reporting.numbers import fill


def test_prints_variants_and_stages_of_a_real_request(artifacts_dir: Path, sample_clip: Path) -> None:
    output = io.StringIO()
    parts = bench.run(artifacts_dir, sample_clip, 1, Console(file=output, width=110))
    text = output.getvalue()
    for word in ("fp32", "int8", "fp16", "decode", "faces", "features", "forward", "ensemble", "MiB", "torch threads"):
        assert word in text
    written = bench.markdown(parts)
    assert "| variant | device | median |" in written
    assert "| model | decode | faces | features | forward | other | total |" in written
    assert [line for line in written.splitlines() if line.startswith("| ensemble |")]


def test_the_page_of_results_has_a_place_for_it() -> None:
    page = Path(__file__).parents[2] / "docs" / "results.md"
    text = page.read_text(encoding="utf-8")
    assert "\nnew\n" in fill(text, "new\n", page.name, bench.MARKS)


def test_stage_shares_add_up(artifacts_dir: Path, sample_clip: Path) -> None:
    engine = bench.load_engine({"audio": artifacts_dir / "audio"}, name="audio", cache=None)
    stages = bench.stage_times_ms({"audio": engine}, sample_clip, n_repeats=1)["audio"]
    assert sum(stages[stage] for stage in (*bench.STAGES, "other")) == pytest.approx(stages["total"])
    assert stages["faces"] == 0 < stages["forward"]


def test_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--artifacts", str(tmp_path)])
    assert "make artifacts sample" in capsys.readouterr().err
