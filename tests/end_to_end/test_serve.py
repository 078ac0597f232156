"""What `make serve` shows."""

from __future__ import annotations

import re

from operations.serve import serve


def test_both_verdicts_are_shown_and_nothing_is_started_twice(server, sample_clip, capsys):
    before = server.process.pid
    serve(server, sample_clip)
    printed = capsys.readouterr().out
    assert server.process.pid == before
    assert "already running" in printed
    rows = [line for line in printed.splitlines() if re.search(r"│ (HTTP|gRPC)", line)]
    verdicts = [re.findall(r"Real|Fake|[01]\.\d{4}", row) for row in rows]
    assert len(verdicts) == 2
    assert verdicts[0] == verdicts[1]
    assert len(verdicts[0]) == 4  # the verdict, and p_fake of the whole, the picture and the sound
    assert f"curl {server.inference}/predictions/ensemble -H" in printed
