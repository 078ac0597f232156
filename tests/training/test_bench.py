from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from training import bench


def test_prints_variants_and_stages_of_a_real_request(artifacts_dir: Path, sample_clip: Path) -> None:
    output = io.StringIO()
    bench.run(artifacts_dir, sample_clip, 1, Console(file=output, width=110))
    text = output.getvalue()
    for word in ("fp32", "int8", "fp16", "decode", "faces", "features", "forward", "ensemble", "MiB", "torch threads"):
        assert word in text


def test_stage_shares_add_up(artifacts_dir: Path, sample_clip: Path) -> None:
    engine = bench.load_engine({"audio": artifacts_dir / "audio"}, name="audio", cache=None)
    stages = bench.stage_times_ms({"audio": engine}, sample_clip, n_repeats=1)["audio"]
    assert sum(stages[stage] for stage in (*bench.STAGES, "other")) == pytest.approx(stages["total"])
    assert stages["faces"] == 0 < stages["forward"]


def test_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--artifacts", str(tmp_path)])
    assert "make artifacts sample" in capsys.readouterr().err
