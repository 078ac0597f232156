from __future__ import annotations

from operations.server_logs import TAIL_LINES, ServerLogs

LINE = "2026-11-24T10:00:00,000 [INFO ] W-9000-{}-stdout MODEL_LOG - {}\n"


def test_nothing_is_there_before_the_server_is(tmp_path):
    logs = ServerLogs(tmp_path / "logs")
    assert (logs.tail(), logs.workers_size_bytes(), logs.workers_since(0, "audio", "1.0")) == ("", 0, [])


def test_the_tail_names_its_file(tmp_path):
    (tmp_path / "console.log").write_text("".join(f"line {index}\n" for index in range(100)))
    first, *lines = ServerLogs(tmp_path).tail().splitlines()
    assert first.endswith("console.log")
    assert lines == [f"line {index}" for index in range(100 - TAIL_LINES, 100)]


def test_what_one_version_has_said_since_a_mark(tmp_path):
    logs, path = ServerLogs(tmp_path), tmp_path / "model_log.log"
    path.write_text(LINE.format("audio_2.0", "before"))
    mark = logs.workers_size_bytes()
    with path.open("a") as log:
        log.write(LINE.format("audio_2.0", "after") + LINE.format("audio_1.0", "of another version"))
    assert logs.workers_since(mark, "audio", "2.0") == ["after"]
    path.write_text(LINE.format("audio_2.0", "rotated"))
    assert logs.workers_since(10_000, "audio", "2.0") == ["rotated"]
