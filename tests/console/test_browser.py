"""The page in a real browser, over a real TorchServe: from a dropped file to a verdict and what it rests on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from samples.clip import make_sample
from tests.console.browsing import DONE, page_of, serious_violations
from tests.console.environment import needs_browser, needs_console

pytestmark = [needs_console, needs_browser]

VERDICT_MS = 60_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    """Seventeen clips of one second."""
    folder = tmp_path_factory.mktemp("batch")
    first = make_sample(folder / "clip-00.mp4", duration_s=1.0, width=320, height=240).read_bytes()
    for index in range(1, 17):  # each other bytes, so that no cache answers
        (folder / f"clip-{index:02}.mp4").write_bytes(first + b"\0\0\0\x10free" + bytes([index] * 8))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory, clips) -> list[Path]:
    folder = tmp_path_factory.mktemp("bad")
    contents = {"empty.mp4": b"", "notes.txt": b"no video", "<img src=x>.mp4": clips[0].read_bytes()[:600]}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(folder.iterdir())


def judge(page, *paths: Path) -> None:
    page.set_input_files("#files", [str(path) for path in paths])
    page.wait_for_selector(DONE, timeout=VERDICT_MS)


def current_time(page) -> float:
    return page.evaluate("document.querySelector('.media video').currentTime")


def test_from_upload_to_verdict_seek_and_explanation(browser, console, sample_clip, screenshots):
    with page_of(browser, console.address) as page:
        judge(page, sample_clip)
        page.keyboard.press("j")  # the keyboard alone
        page.wait_for_selector(".verdict")
        assert re.search(r"Likely (real|fake)", page.inner_text(".headline"))
        page.wait_for_selector("canvas.map", timeout=VERDICT_MS)  # the last of the explanation
        record = details(page)
        video = record["explanation"]["video"]
        assert page.locator(".faces button").count() == len(video["heatmap"]["frames"])
        pieces = page.locator(".lane .video :is(.dot, .piece)")
        assert pieces.count() == len(record["tracks"]["video"]["p_fake"])
        assert spectrum_is_drawn(page)

        lane = page.locator(".lane svg").first
        lane.click(position={"x": lane.bounding_box()["width"] * 0.75, "y": 20})
        assert current_time(page) == pytest.approx(7.5, abs=0.1)
        page.locator(".faces button").first.click()
        at_s = video["frame_times_s"][video["heatmap"]["frames"][0]]
        assert current_time(page) == pytest.approx(at_s, abs=0.05)
        page.focus("[role=slider]")
        page.keyboard.press("ArrowRight")
        assert current_time(page) == pytest.approx(at_s + 1, abs=0.05)
        assert float(page.get_attribute("[role=slider]", "aria-valuenow")) == pytest.approx(at_s + 1, abs=0.06)

        page.evaluate("document.activeElement.blur()")
        before = overlay_ink(page)
        page.keyboard.press("h")
        assert page.get_attribute("button:has-text('Heat map')", "aria-pressed") == "true"
        assert overlay_ink(page) > before
        page.screenshot(path=screenshots / "clip.png", full_page=True)
        assert serious_violations(page) == []


def details(page) -> dict:
    """What the console tells of the clip that is shown."""
    return page.evaluate("fetch('/api/clips/' + location.hash.split('/')[2]).then((answer) => answer.json())")


def spectrum_is_drawn(page) -> bool:
    return page.evaluate(
        """() => { const c = document.querySelector('canvas.spectrogram');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return new Set(d).size > 50; }"""
    )


def overlay_ink(page) -> int:
    """Pixels that something is drawn on, over the picture."""
    return page.evaluate(
        """() => { const c = document.querySelector('.media canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"""
    )


def test_the_threshold_moves_the_whole_queue_and_its_exports(browser, console, clips):
    with page_of(browser, console.address) as page:
        judge(page, clips[0])
        page.click(".item .open")
        page.wait_for_selector("#threshold")
        shown = lambda: page.get_attribute(".item", "data-kind")  # noqa: E731
        for value, kind in (("0", "fake"), ("1", "real")):
            page.fill("#threshold", value)
            assert shown() == kind
            assert f"Likely {kind}" in page.inner_text(".headline")
            assert f"threshold={value}" in page.get_attribute("#export-csv", "href")
        page.click("text=Back to the server's")
        assert "threshold" not in page.get_attribute("#export-csv", "href")


def test_a_batch_of_twenty_with_three_bad_files(browser, console, clips, bad_files, screenshots):
    # The console refuses the empty one itself, which a browser notes as an error of the call.
    with page_of(browser, console.address, expected="status of 400") as page:
        page.set_input_files("#files", [str(path) for path in [*bad_files, *clips]])
        page.wait_for_selector("#queue-summary:has-text('20 of 20 done')", timeout=3 * VERDICT_MS)
        assert "3 without a verdict" in page.inner_text("#queue-summary")
        kinds = page.eval_on_selector_all(".item", "rows => rows.map(row => row.dataset.kind)")
        assert kinds[-3:] == ["failed"] * 3  # the suspicious first, those without a verdict last
        scores = page.eval_on_selector_all(".item .score", "rows => rows.map(row => parseInt(row.textContent))")[:17]
        assert scores == sorted(scores, reverse=True)
        page.screenshot(path=screenshots / "batch.png")
        page.select_option("#show", "failed")
        assert page.locator(".item").count() == 3
        assert page.locator(".item img").count() == 0  # a name is no markup
        page.fill("#filter", "notes")
        assert page.locator(".item .name").all_inner_texts() == ["notes.txt"]
        page.click(".item .open")
        page.wait_for_selector("text=Screenshots and documents cannot be judged.")
        with page.expect_download() as download:
            page.click("#export-csv")
        assert len(Path(download.value.path()).read_text().strip().splitlines()) == 20
        page.click("#report-button")
        page.fill("#report-case", "Case 7")
        with page.expect_download() as download:
            page.click("text=Save report")
        report = Path(download.value.path()).read_text()
        assert "Case 7" in report
        assert report.count("<section>") == 19


def test_decisions_by_keyboard_go_on_to_the_next_clip(browser, console, clips):
    with page_of(browser, console.address) as page:
        page.set_input_files("#files", [str(path) for path in clips[:3]])
        page.wait_for_selector("#queue-summary:has-text('3 of 3 done')", timeout=VERDICT_MS)
        page.wait_for_selector(".decision")  # the most suspicious one has opened by itself
        names = page.locator(".item .name").all_inner_texts()
        for key, following in (("1", names[1]), ("2", names[2]), ("3", names[2])):
            page.keyboard.press(key)
            page.wait_for_selector(f".headline h1:has-text('{following}')")
            page.wait_for_selector(".decision")
        page.wait_for_selector("[data-decision=unsure][aria-pressed=true]")
        decided = [text.split("decided: ")[1] for text in page.locator(".item .state").all_inner_texts()]
        assert decided == ["Fake", "Real", "Unsure"]
        page.click("[data-decision=unsure]")  # once more takes it back
        page.select_option("#show", "undecided")
        assert page.locator(".item .name").all_inner_texts() == [names[2]]


def test_cancel_try_again_and_remove(browser, console, clips):
    with page_of(browser, console.address, expected="ERR_FAILED") as page:
        held = []
        page.route("**/api/clips?name=clip-01.mp4", lambda route: held.append(route) if not held else route.continue_())
        page.set_input_files("#files", [str(path) for path in clips[:2]])
        page.wait_for_selector(DONE, timeout=VERDICT_MS)
        page.wait_for_selector("text=Uploading")
        page.click("[aria-label='Cancel clip-01.mp4']")
        page.wait_for_selector("text=Cancelled")
        page.click("[aria-label='Try clip-01.mp4 again']")
        page.wait_for_selector("#queue-summary:has-text('2 of 2 done; ')", timeout=VERDICT_MS)
        page.wait_for_selector(".item[data-kind=failed]", state="detached")
        page.click("[aria-label='Remove clip-01.mp4']")
        page.wait_for_selector("#queue-summary:has-text('1 of 1 done')")


def test_two_versions_side_by_side(browser, console, clips, screenshots):
    with page_of(browser, console.address) as page:
        judge(page, clips[0])
        page.click(".item .open")
        page.click("text=Compare with another version")
        page.click("text=Judge with version 2.0")
        page.wait_for_selector("text=P(fake) differs by 0.0 points")
        page.click("nav >> text=Models")
        page.wait_for_selector("text=ROC-AUC")
        page.click("#side-by-side button")
        page.wait_for_selector("#side-by-side table")
        assert page.locator("#side-by-side tbody tr").count() == 2
        page.screenshot(path=screenshots / "models.png", full_page=True)
        assert serious_violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible_in_both_themes_and_on_a_phone(
    browser, console, clips, bad_files, screenshots, scheme
):
    options = {"color_scheme": scheme, "viewport": {"width": 390, "height": 844}, "reduced_motion": "reduce"}
    with page_of(browser, console.address, **options) as page:
        assert serious_violations(page) == []
        judge(page, clips[0], bad_files[2])
        page.wait_for_selector(".item[data-kind=failed]", timeout=VERDICT_MS)
        assert serious_violations(page) == []
        page.screenshot(path=screenshots / f"phone-queue-{scheme}.png", full_page=True)
        page.click(".item .open")
        page.wait_for_selector("canvas.map", timeout=VERDICT_MS)
        assert page.is_hidden("#queue")  # on a phone one thing at a time
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert serious_violations(page) == []
        page.screenshot(path=screenshots / f"phone-clip-{scheme}.png", full_page=True)
        page.click("[aria-label='Back to the queue']")
        page.wait_for_selector("#queue", state="visible")
        page.click("nav >> text=Camera")
        assert serious_violations(page) == []


def test_the_theme_button_turns_the_page_dark(browser, console, screenshots):
    with page_of(browser, console.address, color_scheme="light") as page:
        back = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
        light = back()
        page.click("#theme-button")
        assert back() != light
        assert page.get_attribute("#theme-button", "aria-label") == "Theme: dark"
        page.reload()
        page.wait_for_selector("#drop-hint:not(:empty)")
        assert back() != light  # it is remembered
        page.screenshot(path=screenshots / "dark.png")


def test_a_server_that_is_down_is_said_with_what_to_do(browser, lone_console, tmp_path):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"x")
    with page_of(browser, lone_console.address) as page:
        page.wait_for_selector("#server-state:has-text('Server not reachable')")
        page.set_input_files("#files", str(clip))
        page.wait_for_selector("text=The server does not answer", timeout=VERDICT_MS)
        page.click(".item .open")
        page.wait_for_selector("text=Start it with `make serve`")
        page.click("[aria-label='Try a.mp4 again']")
        page.wait_for_selector("[aria-label='Cancel a.mp4']")


def test_ending_the_session_deletes_its_files(browser, console, clips):
    with page_of(browser, console.address) as page:
        judge(page, clips[0])
        folders = {one.directory for one in console.app.state.services.sessions if one.clips}
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("text=End session")
        page.wait_for_selector("text=Start a new session")
        left = {one.directory for one in console.app.state.services.sessions if one.clips}
        (mine,) = folders - left
        assert not mine.exists()
