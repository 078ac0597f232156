"""What the browser tests share: clips, a page that must not complain, and the accessibility check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DONE = ".item[data-kind=real], .item[data-kind=fake]"


@contextmanager
def page_of(browser: Any, address: str, *, expected: str = "", **context: Any) -> Iterator[Any]:
    """A fresh browser context at the console; fails where a script, the policy or a resource did.

    Args:
        expected: a part of messages that are no failure.
    """
    made = browser.new_context(viewport=context.pop("viewport", {"width": 1280, "height": 900}), **context)
    page = made.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("console", lambda message: message.type == "error" and problems.append(f"console: {message.text}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "data:", "blob:"))
            else problems.append(f"elsewhere: {request.url}")
        ),
    )
    page.goto(address)
    page.wait_for_selector("#drop-hint:not(:empty)")
    try:
        yield page
    finally:
        made.close()
    assert [one for one in problems if not (expected and expected in one)] == []


def serious_violations(page: Any) -> list[str]:
    """What axe-core calls serious or critical, each with the first element that it names."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] in ("serious", "critical")
    ]
