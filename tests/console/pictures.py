"""Takes the pictures of the console that the documentation shows; `make console-pictures` runs this.

python -m tests.console.pictures            docs/images/console-*.png, of the project's own clips
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from operations.server import PROJECT_DIR
from samples.clip import make_sample
from tests.console.browsing import DONE, page_of
from tests.console.environment import camera_arguments, chromium, running_console, running_torchserve, settings_for

OUTPUT = PROJECT_DIR / "docs" / "images"
SAMPLE = PROJECT_DIR / "build" / "sample.mp4"
N_COLOURS = 256  # a third of the size, and the eye does not miss the others
WAIT_MS = 90_000


def clips(folder: Path) -> list[Path]:
    """The sample, and a few more of its kind: without a face, without a picture, without sound, and no clip at all."""
    text = folder / "notes.txt"
    text.write_text("not a clip")
    return [
        SAMPLE,
        make_sample(folder / "interview.mp4", duration_s=3.0, width=640, height=360, seed=4),
        make_sample(folder / "voice message.wav", duration_s=6.0, video_codec=None, audio_codec="pcm_s16le", seed=2),
        make_sample(folder / "no face.mp4", duration_s=2.0, width=640, height=360, face=False),
        make_sample(
            folder / "silent.webm", duration_s=2.0, width=640, height=360, video_codec="libvpx-vp9", audio_codec=None
        ),
        text,
    ]


def take(page: Any, path: Path, width_px: int) -> None:
    """A picture of what the page shows, made small."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot = shot.resize((width_px, round(shot.height * width_px / shot.width)), Image.Resampling.LANCZOS)
    shot.quantize(N_COLOURS, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(PROJECT_DIR)}  {path.stat().st_size / 1024:.0f} KiB")


def show_sample(page: Any, files: Sequence[Path]) -> None:
    """Uploads all, and opens the sample with its explanation."""
    page.set_input_files("#files", [str(path) for path in files])
    page.wait_for_selector(f"#queue-summary:has-text('{len(files)} of {len(files)} done')", timeout=WAIT_MS)
    page.locator(DONE).filter(has_text=SAMPLE.name).locator(".open").click()
    page.wait_for_selector("canvas.map", timeout=WAIT_MS)
    page.locator(".faces button").nth(page.locator(".faces button").count() // 2).click()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("h")
    page.wait_for_timeout(500)
    page.evaluate("scrollTo(0, 0)")


def main(argv: Sequence[str] | None = None) -> None:
    """Takes all pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.console.pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="default: docs/images")
    output = parser.parse_args(argv).output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("store", "torchserve", "clips"):
            (folder / name).mkdir()
        files = clips(folder / "clips")
        with (
            running_torchserve(folder / "store", folder / "torchserve") as server,
            running_console(**settings_for(server)) as console,
            chromium() as start,
        ):
            with page_of(start(), console.address, viewport={"width": 1360, "height": 1150}) as page:
                show_sample(page, files)
                take(page, output / "console-clip.png", 1000)
            phone = {"width": 390, "height": 844}
            with page_of(start(), console.address, viewport=phone, color_scheme="dark") as page:
                show_sample(page, files)
                take(page, output / "console-phone.png", 390)
            with page_of(
                start(*camera_arguments(folder)), console.address, viewport={"width": 1100, "height": 560}
            ) as page:
                page.click("nav >> text=Camera")
                page.click("#live-start")
                page.wait_for_selector("#live-history li >> nth=7", timeout=WAIT_MS)
                take(page, output / "console-live.png", 800)


if __name__ == "__main__":
    main()
