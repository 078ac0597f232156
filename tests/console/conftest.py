"""A console over a real TorchServe, and a real browser before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.server import TorchServe
from tests.console.environment import SCREENSHOTS, Console, chromium, running_console, running_torchserve, settings_for


@pytest.fixture(scope="session")
def torchserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    with running_torchserve(tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("torchserve")) as server:
        yield server


@pytest.fixture(scope="session")
def console(torchserve: TorchServe) -> Iterator[Console]:
    with running_console(**settings_for(torchserve)) as found:
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
    with chromium() as start:
        yield start


@pytest.fixture(scope="session")
def browser(playwright_chromium: Callable[..., Any]) -> Any:
    return playwright_chromium()


@pytest.fixture
def screenshots() -> Path:
    """Where pictures of the page are kept, for whoever looks at a run."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
