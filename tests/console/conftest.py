"""A console over a real TorchServe, and a real browser before it; what is absent here is skipped, with the reason."""

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

import pytest
import requests

from console.settings import ConsoleSettings
from loadtest.measure.archive_copies import copy_archive
from operations.server import PROJECT_DIR, TorchServe

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


@pytest.fixture(scope="session")
def torchserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    """The ensemble alone, in two versions of the same content: 1.0, the default, and 2.0."""
    archive = PROJECT_DIR / "archives" / "ensemble.mar"
    if not archive.exists():
        pytest.fail("archives/ensemble.mar is not there: run `make archive` first")
    store = tmp_path_factory.mktemp("store")
    shutil.copy(archive, store)
    # Another line between real and fake, so that the two disagree on what lies between.
    copy_archive(archive, store / "ensemble-2.0.mar", {"handler": {"fusion_threshold": 0.05}}, "2.0")
    server = TorchServe.private(tmp_path_factory.mktemp("torchserve"), store, ["ensemble"])
    with server.running():
        server.management_api.register("ensemble-2.0.mar")
        yield server


@pytest.fixture(scope="session")
def served_settings(torchserve: TorchServe) -> dict[str, Any]:
    """How a console finds that server."""
    return {
        "inference": torchserve.inference,
        "management": torchserve.management,
        "metrics": torchserve.metrics,
        "key_file": torchserve.directory / "key_file.json",
    }


@pytest.fixture(scope="session")
def console(served_settings: dict[str, Any]) -> Iterator[Console]:
    with running_console(**served_settings) as found:
        yield found


@pytest.fixture(scope="session")
def lone_console() -> Iterator[Console]:
    """A console whose TorchServe is down."""
    nobody = "http://127.0.0.1:9"  # the discard port: refused at once
    with running_console(
        inference=nobody, management=nobody, metrics=nobody, max_files=3, max_file_bytes=1_000
    ) as found:
        yield found


@pytest.fixture(scope="session")
def playwright_chromium() -> Iterator[Callable[..., Any]]:
    """Starts browsers: `playwright_chromium(*more_arguments)`; they are closed in the end."""
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


@pytest.fixture(scope="session")
def browser(playwright_chromium: Callable[..., Any]) -> Any:
    return playwright_chromium()


@pytest.fixture
def screenshots() -> Path:
    """Where pictures of the page are kept, for whoever looks at a run."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
