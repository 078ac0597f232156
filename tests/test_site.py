"""The documentation as a site, built strictly by `make docs`'s own environment."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

PROJECT_DIR = Path(__file__).resolve().parent.parent
MKDOCS = PROJECT_DIR / ".venv-docs" / "bin" / "mkdocs"
pytestmark = pytest.mark.slow  # half a minute to build it


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if not MKDOCS.exists():
        pytest.skip("the environment of the site is not there: make docs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [MKDOCS, "build", "--strict", "--site-dir", folder],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page(site):
    documents = [path.relative_to(PROJECT_DIR / "docs") for path in (PROJECT_DIR / "docs").rglob("*.md")]
    expected = {path.with_suffix(".html").as_posix() for path in documents} | {"index.html", "contributing.html"}
    expected |= {f"model-cards/{card.parent.name}.html" for card in PROJECT_DIR.glob("weights/*/MODEL_CARD.md")}
    assert {name for name in expected if not (site / name).exists()} == set()


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    loaded = [
        (page.name, tag)
        for page in pages
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"https?://[^>]*>", page.read_text())
    ]
    assert pages
    assert loaded == []
    assert [path.name for path in site.rglob("*.css") if re.search(r"url\(\W?https?://", path.read_text())] == []


def test_links_between_files_lead_to_pages(site):
    start = (site / "index.html").read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in re.findall(r'href="([^"#:]+\.html[^":]*)"', start)}
    assert {"serving/configure.html", "model-cards/video.html", "contributing.html", "results.html"} <= links
    assert [link for link in links if not (site / link).exists()] == []
    assert "LICENSE" not in set(re.findall(r'href="([^"]+)"', start))  # a file that is no page


def test_the_api_is_documented_from_docstrings(site):
    page = (site / "reference" / "detector.html").read_text(encoding="utf-8")
    assert 'id="deepdetect.detector.DeepfakeDetector.detect_batch"' in page
