"""What the console's tests and its pictures run on: a real TorchServe, a real console, a real browser."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
import requests

from console.settings import ConsoleSettings
from loadtest.measure.archive_copies import copy_archive
from operations.server import PROJECT_DIR, TorchServe
from samples.clip import make_sample

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = PROJECT_DIR / "build" / "console" / "screenshots"
# Chromium runs as root in containers, where its sandbox cannot; and nothing of it may ask for the network.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_console = pytest.mark.skipif(
    importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("starlette") is None,
    reason="the console's packages are not here: make console-test",
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="chromium or playwright is not here: apt-get install chromium, make console-test",
)


@dataclass(frozen=True)
class Console:
    """A console that runs."""

    address: str
    settings: ConsoleSettings
    app: Any

    def visit(self) -> requests.Session:
        """A caller with a session: its cookie and its CSRF token."""
        caller = requests.Session()
        page = caller.get(self.address + "/", timeout=30)
        page.raise_for_status()
        caller.headers["x-csrf-token"] = page.text.split('data-csrf="')[1].split('"')[0]
        return caller


@contextmanager
def running_console(**settings: Any) -> Iterator[Console]:
    """A console on a free port, in a thread."""
    import uvicorn

    from console.app import create_app

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    whole = ConsoleSettings(port=port, **settings)
    app = create_app(whole)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline, "the console did not start"
        time.sleep(0.02)
    try:
        yield Console(f"http://127.0.0.1:{port}", whole, app)
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def running_torchserve(store: Path, directory: Path) -> Iterator[TorchServe]:
    """The ensemble alone, in two versions: 1.0, the default, and 2.0, with another line between real and fake."""
    archive = PROJECT_DIR / "archives" / "ensemble.mar"
    if not archive.exists():
        raise FileNotFoundError("archives/ensemble.mar is not there: run `make archive` first")
    shutil.copy(archive, store)
    copy_archive(archive, store / "ensemble-2.0.mar", {"handler": {"fusion_threshold": 0.05}}, "2.0")
    server = TorchServe.private(directory, store, ["ensemble"])
    with server.running():
        server.management_api.register("ensemble-2.0.mar")
        yield server


def settings_for(server: TorchServe) -> dict[str, Any]:
    """How a console finds that server."""
    return {
        "inference": server.inference,
        "management": server.management,
        "metrics": server.metrics,
        "key_file": server.keys.path,
    }


@contextmanager
def chromium() -> Iterator[Callable[..., Any]]:
    """Starts browsers: `start(*more_arguments)`; they are closed in the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = []

        def start(*more: str) -> Any:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*CHROMIUM_ARGUMENTS, *more])
            started.append(browser)
            return browser

        yield start
        for browser in started:
            browser.close()


def camera_arguments(folder: Path) -> list[str]:
    """Chromium's flags for a camera that shows a face and a microphone that speaks."""
    clip = make_sample(folder / "clip.mp4", duration_s=4.0, width=320, height=240, fps=15)
    wav = make_sample(folder / "voice.wav", duration_s=4.0, video_codec=None, audio_codec="pcm_s16le")
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={_y4m(clip, folder / 'clip.y4m')}",
        f"--use-file-for-fake-audio-capture={wav}",
    ]


def _y4m(clip: Path, path: Path) -> Path:
    """The clip's pictures as YUV4MPEG2, which is all that Chromium takes for a camera."""
    with av.open(str(clip)) as source, path.open("wb") as target:
        stream = source.streams.video[0]
        rate = stream.average_rate
        size = f"W{stream.width} H{stream.height}"
        target.write(f"YUV4MPEG2 {size} F{rate.numerator}:{rate.denominator} Ip A1:1 C420jpeg\n".encode())
        for frame in source.decode(stream):
            target.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())
    return path
