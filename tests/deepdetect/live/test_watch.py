"""Real transports on loopback: MPEG-TS over TCP, a file that grows, standard input."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.context import SpawnProcess
from pathlib import Path

import av
import pytest

from deepdetect.live.cusum import CusumConfig
from deepdetect.live.source import LiveSource, SourceConfig, SourceError
from deepdetect.live.watch import SecondScorer, watch
from operations.settings import free_ports

PROJECT_DIR = Path(__file__).resolve().parents[3]


def send(clip: Path, target: str, start_s: float = 0.0, end_s: float = 1e9) -> None:
    """Remuxes a part of a clip to MPEG-TS at a path or address."""
    with av.open(str(clip)) as source, av.open(target, "w", format="mpegts") as sink:
        tracks = {stream.index: sink.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None or not start_s <= float(packet.pts * packet.time_base) < end_s:
                continue
            packet.stream = tracks[packet.stream.index]
            sink.mux(packet)


@pytest.fixture(scope="module")
def scorer(detector) -> SecondScorer:
    return SecondScorer(detector.predictors["video"], detector.predictors["audio"])


def send_all(parts: Sequence[tuple]) -> None:
    """Sends one part after the other; the receiver connects to each anew."""
    for part in parts:
        send(*part)


@pytest.fixture
def sender() -> Iterator[Callable[..., SpawnProcess]]:
    """Sends from a process of its own: PyAV holds Python's lock while it waits for somebody to connect."""
    started: list[SpawnProcess] = []

    def start(*parts: tuple) -> SpawnProcess:
        process = multiprocessing.get_context("spawn").Process(target=send_all, args=(parts,))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def eventually(url: str, config: SourceConfig) -> LiveSource:
    """A source whose first attempt may come before the sender listens: it is opened when somebody does."""
    host, port = url.removeprefix("tcp://").split(":")
    until_s = time.monotonic() + 60
    while f":{int(port):04X} 00000000:0000 0A" not in Path("/proc/net/tcp").read_text():
        assert time.monotonic() < until_s, f"nobody listens at {host}:{port}"
        time.sleep(0.05)
    return LiveSource(url, config)


def events_of(source: LiveSource, scorer: SecondScorer, n_seconds: int | None = None) -> list[dict]:
    seconds = source.seconds()
    taken = seconds if n_seconds is None else (next(seconds) for _ in range(n_seconds))
    return list(watch(taken, scorer, CusumConfig()))


def test_each_second_of_a_file_has_a_score_of_picture_and_sound(sample_clip, scorer):
    events = events_of(LiveSource(str(sample_clip)), scorer)
    scores = [event for event in events if event["event"] == "score"]
    assert [event["second"] for event in scores] == list(range(10))
    assert all(0 <= event[part] <= 1 for event in scores for part in ("video", "audio", "p_fake"))
    assert all(event["faces"] == 1 for event in scores)
    assert events[-1] == {"event": "end", "seconds": 10, "alarmed": False}


def test_a_stream_that_breaks_off_goes_on_where_it_comes_back(sample_clip, scorer, sender):
    (port,) = free_ports(1)
    listening = f"tcp://127.0.0.1:{port}?listen=1"
    sender((sample_clip, listening, 0.0, 4.0), (sample_clip, listening, 0.0, 5.0))
    source = eventually(f"tcp://127.0.0.1:{port}", SourceConfig(backlog_s=100, give_up_s=60))
    events = events_of(source, scorer, 7)
    assert [event["second"] for event in events if event["event"] == "score"] == list(range(7))
    assert [event["event"] for event in events if event["event"] not in ("score", "end")] == ["reconnected"]


def test_who_scores_too_slowly_loses_the_oldest_seconds_and_is_told(sample_clip, sender):
    (port,) = free_ports(1)
    process = sender((sample_clip, f"tcp://127.0.0.1:{port}?listen=1"))
    source = eventually(f"tcp://127.0.0.1:{port}", SourceConfig(backlog_s=2, give_up_s=0.1))
    seconds = source.seconds()
    first = next(seconds)
    process.join()
    source._thread.join()
    rest = list(seconds)
    assert len(rest) == 2
    assert rest[0].n_dropped == rest[0].index - first.index - 1 > 0
    assert rest[1].index == rest[0].index + 1


def test_a_file_that_grows_is_followed(sample_clip, scorer, tmp_path):
    whole, growing = tmp_path / "whole.ts", tmp_path / "growing.ts"
    send(sample_clip, str(whole))
    content = whole.read_bytes()
    growing.write_bytes(content[: len(content) // 2])
    source = LiveSource(str(growing), SourceConfig(follow=True, backlog_s=100, give_up_s=60))
    seconds = source.seconds()
    first = [next(seconds) for _ in range(3)]
    growing.write_bytes(content)
    rest = [next(seconds) for _ in range(5)]
    assert [second.index for second in first + rest] == list(range(8))
    assert all(len(second.frames) == 3 for second in rest[:-1])


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(SourceError, match="nothing.ts"):
        list(LiveSource(str(tmp_path / "nothing.ts")).seconds())
    with pytest.raises(ValueError, match="backlog_s"):
        SourceConfig(backlog_s=0)


def test_the_command_reads_standard_input_and_tells_a_webhook(sample_clip, tmp_path):
    send(sample_clip, str(tmp_path / "clip.ts"))
    told: list[dict] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{server.server_port}"
    # So many false alarms are allowed that the threshold is next to nothing: the sample's undecided seconds raise some.
    options = ["--json", "--backlog-s", "100", "--false-alarms-an-hour", "3600", "--webhook", hook]
    command = [sys.executable, "-m", "deepdetect.cli", "watch", "-", *options]
    with (tmp_path / "clip.ts").open("rb") as stream:
        done = subprocess.run(command, cwd=PROJECT_DIR, stdin=stream, capture_output=True, text=True)
    server.shutdown()
    server.server_close()
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "end"
    changes = [event for event in events if event["event"] in ("alarm", "all_clear")]
    assert [event["event"] for event in told] == [event["event"] for event in changes]
    assert changes
    assert done.returncode == int(events[-1]["alarmed"]), done.stderr
