"""Camera and microphone, as a browser gives them: its own fake devices play a clip."""

from __future__ import annotations

from tests.console.browsing import page_of
from tests.console.environment import camera_arguments, needs_browser, needs_console

pytestmark = [needs_console, needs_browser]

FIRST_VERDICT_MS = 60_000


def test_a_rolling_verdict(playwright_chromium, console, tmp_path, screenshots):
    browser = playwright_chromium(*camera_arguments(tmp_path))
    with page_of(browser, console.address) as page:
        page.click("nav >> text=Camera")
        page.click("#live-start")
        page.wait_for_selector("#live-history li >> nth=1", timeout=FIRST_VERDICT_MS)
        assert page.inner_text("#live-verdict").startswith("Last 4 s: ")
        newest = page.inner_text("#live-history li")
        assert "picture" in newest
        assert "sound" in newest
        page.screenshot(path=screenshots / "live.png")
        page.click("#live-stop")
        assert page.evaluate("document.querySelector('#live-preview').srcObject") is None
        assert page.is_enabled("#live-start")
    sessions = console.app.state.services.sessions
    assert all(not any(one.directory.iterdir()) for one in sessions if not one.clips)  # nothing of it is on disk


def test_without_a_device_the_page_says_so(browser, console):
    with page_of(browser, console.address) as page:
        page.click("nav >> text=Camera")
        page.click("#live-start")
        page.wait_for_selector("#live-alert:has-text('The browser gave no camera or microphone')")
        page.uncheck("#live-camera")
        page.uncheck("#live-microphone")
        page.click("#live-start")
        page.wait_for_selector("#live-alert:has-text('Choose the camera, the microphone, or both.')")
