"""Camera and microphone, as a browser gives them: its own fake devices play a clip."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from samples.clip import make_sample
from tests.console.browsing import page_of
from tests.console.conftest import needs_browser, needs_console

pytestmark = [needs_console, needs_browser]

FIRST_VERDICT_MS = 60_000


@pytest.fixture(scope="module")
def camera_arguments(tmp_path_factory) -> list[str]:
    """Chromium's flags for a camera that shows a face and a microphone that speaks."""
    folder = tmp_path_factory.mktemp("camera")
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


def test_a_rolling_verdict(playwright_chromium, console, camera_arguments, screenshots):
    browser = playwright_chromium(*camera_arguments)
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
