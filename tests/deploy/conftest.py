from __future__ import annotations

import pytest

from tests.deploy.chart import TOOLS

NEED_NO_TOOLS = ("test_image.py", "test_training_jobs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs helm where it is not installed."""
    if (TOOLS / "helm").exists():
        return
    reason = pytest.mark.skip(reason="helm and its companions are not there: run `make deploy-tools`")
    for item in items:
        if item.path.parent.name == "deploy" and item.path.name not in NEED_NO_TOOLS:
            item.add_marker(reason)
