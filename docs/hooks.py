"""MkDocs hooks: pages that lie elsewhere in the repository, and links that work both there and on the site.

The documents link to each other as files, so that they can be read in the repository as well. Here such a link becomes
one to the page; a link to a file that is no page becomes its text. A link to what does not exist stays as it is, and
fails the build.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs"
ELSEWHERE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"} | {
    f"weights/{model}/MODEL_CARD.md": f"model-cards/{model}.md"
    for model in sorted(card.parent.name for card in ROOT.glob("weights/*/MODEL_CARD.md"))
}
MORE = "More"  # section of the pages that the navigation does not name
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation: entries whose page is absent are left out, pages that it does not name come last."""
    pages = {path for source, path in ELSEWHERE.items() if (ROOT / source).is_file()}
    pages |= {path.relative_to(ROOT / DOCS).as_posix() for path in (ROOT / DOCS).rglob("*.md")}
    config.nav = _present(config.nav or [], pages)
    if left := sorted(pages - set(_named(config.nav))):
        config.nav.append({MORE: left})
    return config


def _present(nav: list[Any], pages: set[str]) -> list[Any]:
    kept: list[Any] = []
    for entry in nav:
        if isinstance(entry, str):
            kept += [entry] if entry in pages else []
            continue
        ((title, target),) = entry.items()
        target = _present(target, pages) if isinstance(target, list) else target
        if target in pages if isinstance(target, str) else target:
            kept.append({title: target})
    return kept


def _named(nav: Iterable[Any]) -> Iterable[str]:
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, list):
            yield from _named(entry)
        else:
            yield from _named(entry.values())


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages that lie elsewhere."""
    for source, path in ELSEWHERE.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, path, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files become links between pages, and pictures are found from where the page comes to lie."""
    here = page.file.src_uri
    source = next((source for source, path in ELSEWHERE.items() if path == here), posixpath.join(DOCS, here))

    def linked(found: re.Match[str]) -> str:
        sign, text, target, anchor = found[1], found[2], found[3], found[4] or ""
        if re.match(r"[a-z]+:", target):
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        path = ELSEWHERE.get(file) or (posixpath.relpath(file, DOCS) if file.startswith(f"{DOCS}/") else None)
        if path is not None:
            return f"{sign}[{text}]({os.path.relpath(path, posixpath.dirname(here) or '.')}{anchor})"
        return text if not sign and (ROOT / file).exists() else found[0]

    return _LINK.sub(linked, markdown)
