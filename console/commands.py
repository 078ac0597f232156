"""The same answer without the console: one line for a shell, one for Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from console.settings import ConsoleSettings


def commands(settings: ConsoleSettings, answer: Mapping[str, Any], file_name: str) -> dict[str, str]:
    """`curl` and `python`, to be run in the project's directory, where the file lies under its own name.

    They name the version that has judged, so that they give the same answer when another one is the default.
    """
    model, version = answer["model"]["name"], answer["model"]["version"]
    url = f"{settings.inference}/predictions/{model}/{version}"
    key = "" if settings.key_file is None else f"DEEPDETECT_KEY_FILE={shlex.quote(str(settings.key_file))} "
    if settings.key_file is not None and settings.management:
        key += f"DEEPDETECT_MANAGEMENT_ADDRESS={shlex.quote(settings.management)} "
    # A name that begins with a dash would be taken for an option.
    path = f"./{file_name}" if file_name.startswith("-") else file_name
    script = (
        "from client.inference import HttpClient; "
        f"print(HttpClient({settings.inference!r}).predict({model!r}, open({path!r}, 'rb').read(), "
        f"version={version!r}).body)"
    )
    return {
        "curl": f'curl {url} -H "$({key}.venv/bin/python -m client.keys)" -T {shlex.quote(path)}',
        "python": f"{key}.venv/bin/python -c {shlex.quote(script)}",
    }
