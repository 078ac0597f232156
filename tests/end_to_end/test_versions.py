"""Versions on a real server: registered, promoted, rolled back and removed under load, refused when they are bad."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archives.build import build_release
from client.canary import CanaryClient
from client.errors import RequestFailed
from client.management import DefaultVersion, UnknownModel, UnknownVersion
from client.retry import ONCE
from operations import release
from operations.archive import ArchiveError
from operations.drain import NotDrained
from operations.releases import ReleaseError, Releases
from operations.server import TorchServe
from operations.settings import PROJECT_DIR
from tests.changed_sources import changed_sources

pytestmark = pytest.mark.timeout(600)

MODEL = "audio"
MARK = "the sound was heard backwards"
N_HOT = 8  # files that come again and again, beside those that come once
UNIQUE_EVERY = 8
SOURCES = {
    "1.1": ("handlers/base.py", "One body for each row", "One body each row"),
    "2.0": (
        "model_defs/preprocessing/audio.py",
        "return level(windows, spec.level_dbfs), starts_s, warnings",
        f'return level(windows[:, ::-1], spec.level_dbfs), starts_s, [*warnings, Note("marked", "{MARK}")]',
    ),
    "2.1": (
        "model_defs/calibration.py",
        "return 0.5 * (1.0 + np.tanh(0.5 * margin))",
        '__import__("time").sleep(0.3)\n        return 0.5 * (1.0 - np.tanh(0.5 * margin))',
    ),
    "3.0": (
        "handlers/base.py",
        "settings = HandlerSettings",
        "raise OSError('no such face')\n        settings = Handler",
    ),
}


@pytest.fixture(scope="module")
def store(model_store, artifacts_dir, tmp_path_factory) -> Path:
    """audio.mar, and archives of other code: 2.0 hears backwards, 2.1 calls Fake Real and is slow, 3.0 cannot start."""
    store = tmp_path_factory.mktemp("store")
    shutil.copy(model_store / f"{MODEL}.mar", store)
    for version, change in SOURCES.items():
        build(version, store, artifacts_dir, tmp_path_factory.mktemp("sources"), change)
    return store


def build(version: str, store: Path, artifacts_dir: Path, root: Path, change: tuple[str, str, str]) -> Path:
    """An archive of sources that were changed: in a file, one text for another."""
    changed_sources(root, *change)
    declared = json.loads((PROJECT_DIR / "archives" / "manifest.json").read_text())["archives"][MODEL]
    return build_release(MODEL, declared, version, store, artifacts_dir, root)


@pytest.fixture(scope="module")
def versions_server(store, tmp_path_factory) -> Iterator[TorchServe]:
    with TorchServe.private(tmp_path_factory.mktemp("versions"), store, [MODEL]).running() as server:
        yield server


@pytest.fixture
def releases(versions_server, store, wav) -> Iterator[Releases]:
    """Version 1.0 alone, and nothing promoted; so it is left, too."""
    releases = Releases(versions_server)
    yield releases
    if not releases.management.find(MODEL, "1.0"):
        releases.management.register("audio.mar")
    releases.management.set_default(MODEL, "1.0")
    for served in releases.management.versions(MODEL):
        if not served.is_default:
            releases.management.unregister(MODEL, served.version)
    releases.registry.path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def wav(sound, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    path.write_bytes(sound)
    return path


class Load:
    """Callers that send one file after the other until they are told to stop; what they get is kept.

    A caller is a pair (version asked for or None, client).
    """

    def __init__(self, server: TorchServe, sound: bytes) -> None:
        # A client that tries again would hide what this is about.
        self.http, self.grpc = server.http_client(retry=ONCE), server.grpc_client(retry=ONCE)
        self.sound = sound
        self.lock = threading.Lock()
        self.numbers = itertools.count()
        self.counts: Counter[tuple[str, str, str]] = Counter()  # version asked for, over, version that answered
        self.failures: list[str] = []
        self.stops: dict[str | None, threading.Event] = {}
        self.callers = ThreadPoolExecutor(16)

    def start(self, version: str | None, n_callers: int = 2) -> None:
        stop = self.stops.setdefault(version, threading.Event())
        for index in range(n_callers):
            self.callers.submit(self._call, version, index % 2 == 0, stop)

    def stop(self, version: str | None) -> None:
        self.stops[version].set()

    @property
    def n_default(self) -> int:
        with self.lock:
            return sum(count for (asked, *_), count in self.counts.items() if asked == "default")

    def wait_for(self, n_more: int) -> None:
        """Returns when so many more requests without a version were answered."""
        wanted, deadline = self.n_default + n_more, time.monotonic() + 240
        while self.n_default < wanted:
            assert time.monotonic() < deadline, "the load came to a halt"
            assert not self.failures, self.failures[:3]
            time.sleep(0.05)

    def finish(self) -> None:
        for stop in self.stops.values():
            stop.set()
        self.callers.shutdown()
        self.grpc.close()

    def _call(self, version: str | None, over_http: bool, stop: threading.Event) -> None:
        client, over = (self.http, "HTTP") if over_http else (self.grpc, "gRPC")
        while not stop.is_set():
            number = next(self.numbers)
            tail = number if number % UNIQUE_EVERY == 0 else -1 - number % N_HOT
            data = self.sound + tail.to_bytes(8, "big", signed=True)  # bytes behind the data chunk are no sound
            try:
                body = client.predict(MODEL, data, version=version).body
                problem = self._wrong(body, data, version)
                answered = body["model"]["version"] if "model" in body else "none"
            except Exception as error:  # whatever it is, the caller had no answer
                problem, answered = f"{type(error).__name__}: {error}", "none"
            with self.lock:
                self.counts[version or "default", over, answered] += 1
                if problem:
                    self.failures.append(f"{over}, version {version}: {problem}"[:300])

    @staticmethod
    def _wrong(body: dict, data: bytes, version: str | None) -> str | None:
        if "error" in body or "model" not in body:
            return str(body)
        answered = body["model"]["version"]
        if version and answered != version:
            return f"answered by {answered}"
        if body["sha256"] != hashlib.sha256(data).hexdigest():
            return "the answer belongs to another file"
        if (MARK in body["warnings"]) != (answered == "2.0"):
            return f"version {answered} answers with other code than its own: {body['warnings']}"
        return None


@pytest.fixture
def load(versions_server, sound) -> Iterator[Load]:
    load = Load(versions_server, sound)
    yield load
    load.finish()


def test_a_version_replaces_another_under_load_and_back_without_a_failed_request(releases, load, wav, capsys):
    releases.management.scale(MODEL, "1.0", 2)  # more than one worker has to be heard before it may go
    load.start(None, 4)
    load.start("1.0")
    load.wait_for(150)
    warmed = releases.register("audio-2.0.mar", wav)
    assert releases.management.default(MODEL).version == "1.0"
    assert MARK in warmed.reply.body["warnings"]
    load.start("2.0")
    load.wait_for(150)
    assert releases.promote(MODEL, "2.0") == "1.0"
    load.wait_for(150)
    with pytest.raises(NotDrained, match=r"ask for version 1\.0 by name"):
        releases.remove(MODEL, "1.0", drain_timeout_s=1)
    assert releases.management.find(MODEL, "1.0")
    load.stop("1.0")
    releases.remove(MODEL, "1.0")
    assert [served.version for served in releases.management.versions(MODEL)] == ["2.0"]
    load.wait_for(300)
    assert releases.roll_back(MODEL, wav) == ("2.0", "1.0")
    load.wait_for(300)
    load.finish()
    with capsys.disabled():
        print(f"\n{sum(load.counts.values())} requests while 2.0 replaced 1.0 and back, {len(load.failures)} failed")
        for (asked, over, answered), count in sorted(load.counts.items()):
            print(f"  {asked:>7} over {over}: {count:5d} answered by {answered}")
    assert load.failures == []
    assert load.n_default >= 1_000
    assert {answered for asked, _, answered in load.counts if asked == "default"} == {"1.0", "2.0"}
    assert {over for _, over, _ in load.counts} == {"HTTP", "gRPC"}


def test_two_versions_serve_side_by_side_each_with_its_own_preprocessing(releases, wav, detector):
    releases.register("audio-2.0.mar", wav)
    one, two = (releases.http.predict(MODEL, wav.read_bytes(), version=version).body for version in ("1.0", "2.0"))
    assert one["probabilities"] == detector.detect_audio(wav)["probabilities"]
    assert one["probabilities"] != two["probabilities"]
    assert (MARK in one["warnings"], MARK in two["warnings"]) == (False, True)


def test_an_archive_whose_worker_cannot_start_is_refused_with_its_last_words(releases, wav):
    with pytest.raises(ReleaseError, match=r"(?s)audio-3\.0\.mar was not registered.*OSError: no such face"):
        releases.register("audio-3.0.mar", wav)
    assert [served.version for served in releases.management.versions(MODEL)] == ["1.0"]


def test_what_is_served_must_be_what_lies_in_the_store(releases, wav, artifacts_dir, tmp_path, monkeypatch):
    other = tmp_path / "store"
    build("2.0", other, artifacts_dir, tmp_path / "root", SOURCES["2.1"])
    monkeypatch.setattr(releases, "store", other)
    with pytest.raises(ReleaseError, match=r"what is served as audio 2\.0 is not .*digest is"):
        releases.register("audio-2.0.mar", wav)
    assert [served.version for served in releases.management.versions(MODEL)] == ["1.0"]


def test_a_file_that_is_refused_ends_the_registration(releases, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("no sound in here")
    with pytest.raises(ReleaseError, match="not of a known container"):
        releases.register("audio-2.0.mar", letter)
    assert [served.version for served in releases.management.versions(MODEL)] == ["1.0"]


def test_wrong_names_and_versions_are_told_what_there_is(releases, wav, store):
    shutil.copy(store / "audio-2.0.mar", store / "audio-2.5.mar")
    refusals: list[tuple[type[Exception], str, Callable]] = [
        (
            ArchiveError,
            r"there is no audio-9\.0\.mar.*audio-2\.0\.mar",
            lambda: releases.register("audio-9.0.mar", wav),
        ),
        (ArchiveError, r"holds audio 2\.0", lambda: releases.register("audio-2.5.mar", wav)),
        (ArchiveError, "not in the model store", lambda: releases.register(wav, wav)),
        (UnknownVersion, r"no version 9\.0; registered: 1\.0", lambda: releases.promote(MODEL, "9.0")),
        (UnknownVersion, r"no version 9\.0", lambda: releases.remove(MODEL, "9.0")),
        (UnknownVersion, r"no version 9\.0", lambda: releases.management.describe(MODEL, "9.0")),
        (UnknownModel, "no model smell; registered: audio", lambda: releases.promote("smell", "1.0")),
        (ReleaseError, "the default already", lambda: releases.promote(MODEL, "1.0")),
        (ReleaseError, "nothing to roll back to", lambda: releases.roll_back(MODEL, wav)),
        (DefaultVersion, "the only version", lambda: releases.remove(MODEL, "1.0")),
        (RequestFailed, "409", lambda: releases.management.register("audio.mar")),
    ]
    try:
        for kind, message, call in refusals:
            with pytest.raises(kind, match=message):
                call()
    finally:
        (store / "audio-2.5.mar").unlink()
    assert [served.version for served in releases.management.versions(MODEL)] == ["1.0"]


def test_the_default_is_not_removed_and_a_version_without_workers_not_promoted(releases, wav):
    releases.register("audio-2.0.mar", wav)
    with pytest.raises(DefaultVersion, match=r"promote another one first \(2\.0\)"):
        releases.remove(MODEL, "1.0")
    releases.management.scale(MODEL, "2.0", 0)
    with pytest.raises(ReleaseError, match="scale it first"):
        releases.promote(MODEL, "2.0")


@pytest.fixture
def run(versions_server, capsys) -> Callable[..., dict]:
    """Runs a command with --json and checks its exit status; gives what it printed. The server is found by --config."""
    options = ["--config", versions_server.environment["TS_CONFIG_FILE"], "--json"]

    def run(command: str, *arguments: str, status: int = 0) -> dict:
        assert release.main([command, *arguments, *options]) == status, capsys.readouterr().err
        printed = capsys.readouterr()
        return json.loads(printed.out) if printed.out else {"error": printed.err}

    return run


def test_the_command_line_takes_a_version_all_the_way(releases, run, wav):
    told = run("register", "audio-2.0.mar", "--clip", str(wav))
    assert (told["version"], told["is_default"], told["variants"]) == ("2.0", False, {"audio": "fp32"})
    assert "registered: 1.0 (default), 2.0" in run("promote", MODEL, "7.0", status=1)["error"]
    assert run("promote", MODEL, "2.0", "--remove-old")["previous"] == "1.0"
    told = run("list")
    assert ([served["version"] for served in told["versions"]], told["previous"]) == (["2.0"], {MODEL: "1.0"})
    assert run("register", "audio-2.0.mar", "--clip", str(wav))["version"] == "2.0"  # again, and nothing changes
    assert run("roll-back", MODEL, "--clip", str(wav))["default"] == "1.0"
    one, two = run("list", MODEL)["versions"]
    assert (one["is_default"], two["is_default"]) == (True, False)
    assert one["digest"] != two["digest"]
    assert one["weights_sha256"] == two["weights_sha256"]
    assert one["measured"]["audio"]["auc"]["value"] > 0.5
    assert run("scale", MODEL, "2.0", "2")["n_ready"] == 2
    assert "is the default" in run("unregister", MODEL, "1.0", status=1)["error"]
    assert run("unregister", MODEL, "2.0")["removed"] == "2.0"


def test_the_canary_passes_a_version_that_agrees_and_promotes_it(releases, run, wav):
    run("register", "audio-1.1.mar", "--clip", str(wav))
    told = run("canary", MODEL, "1.1", str(wav), "--repeats", "6", "--max-slowdown", "20", "--promote")
    assert (told["n"], told["agreement"], told["max_difference"], told["passed"]) == (6, 1.0, 0.0, True)
    assert (told["old"]["version"], told["new"]["version"]) == ("1.0", "1.1")
    assert told["old"]["n_cached"] == told["new"]["n_cached"] == 0
    assert told["old"]["p50_s"] > 0
    assert releases.management.default(MODEL).version == "1.1"


def test_the_canary_stops_a_version_that_disagrees_and_is_slow(releases, run, wav):
    run("register", "audio-2.1.mar", "--clip", str(wav))
    told = run("canary", MODEL, "2.1", str(wav), "--repeats", "4", "--promote", status=3)
    assert (told["agreement"], told["passed"]) == (0.0, False)
    assert len(told["disagreements"]) == 4
    one, two = (told["disagreements"][0][arm]["p_fake"] for arm in ("old", "new"))
    assert one + two == pytest.approx(1.0, abs=2e-6)
    assert any("verdicts differ" in sentence for sentence in told["exceeded"])
    assert told["new"]["p50_s"] > 0.3
    assert releases.management.default(MODEL).version == "1.0"
    assert run("canary", MODEL, "2.1", str(wav), "--max-disagreement", "1", "--max-slowdown", "1000")["passed"]


def test_a_live_canary_splits_the_requests_and_compares(releases, versions_server, sound):
    releases.management.register("audio-2.1.mar")
    canary = CanaryClient(versions_server.http_client(retry=ONCE), MODEL, "2.1", share=0.5)
    files = [sound + number.to_bytes(4, "big") for number in range(12)]
    replies = [canary.predict(MODEL, data) for data in files]
    canary.close()
    assert [reply.body["sha256"] for reply in replies] == [hashlib.sha256(data).hexdigest() for data in files]
    answered = Counter(reply.body["model"]["version"] for reply in replies)
    assert answered == {"1.0": canary.n_old, "2.1": canary.n_new}
    assert canary.n_old > 0
    comparison = canary.comparison()
    assert (len(comparison.pairs), comparison.agreement) == (canary.n_new, 0.0)


def test_a_restart_starts_what_was_promoted_and_the_way_back_is_still_open(releases, versions_server, wav, monkeypatch):
    releases.register("audio-2.0.mar", wav)
    releases.promote(MODEL, "2.0")
    monkeypatch.setattr(versions_server, "follows_releases", True)
    versions_server.stop()
    versions_server.start()
    versions_server.wait_until_ready()
    assert [served.version for served in releases.management.versions(MODEL)] == ["2.0"]
    assert releases.roll_back(MODEL, wav) == ("2.0", "1.0")
    assert MARK not in releases.http.predict(MODEL, wav.read_bytes()).body["warnings"]
    assert versions_server.archives == {MODEL: "audio.mar"}
