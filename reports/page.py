"""The jinja2 environment of every report's page."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def environment(folder: Path) -> Environment:
    """The templates of a folder, which extend `frame.html`, with the style that every page holds within itself."""
    templates = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["style"] = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    return templates
