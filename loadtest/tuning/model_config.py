"""Writes a setting into a model configuration, and leaves every other line and comment of it alone."""

from __future__ import annotations

import re

import yaml

from loadtest.tuning.space import Setting, as_config


def rewritten(text: str, setting: Setting) -> str:
    """The YAML with the setting's values; what it does not name is added to the section `handler`.

    Raises:
        ValueError: it is no model configuration: a key is missing or stands there twice.
    """
    values = as_config(setting)
    handler = values.pop("handler")
    for key, value in values.items():
        text = _replaced(text, rf"^({key}:[ ]*)[^\s#]+", value, key)
    for key, value in handler.items():
        pattern = rf"^([ ]+{key}:[ ]*)[^\s#]+"
        if re.search(pattern, text, flags=re.MULTILINE):
            text = _replaced(text, pattern, value, f"handler.{key}")
        else:
            text = re.sub(r"^(handler:.*\n)", rf"\g<1>  {key}: {value}\n", text, count=1, flags=re.MULTILINE)
    if Setting.of(yaml.safe_load(text)) != setting:
        raise ValueError("the model configuration could not be rewritten: it is laid out in an unusual way")
    return text


def _replaced(text: str, pattern: str, value: int, name: str) -> str:
    changed, n = re.subn(pattern, rf"\g<1>{value}", text, flags=re.MULTILINE)
    if n != 1:
        raise ValueError(f"the model configuration has {n} lines for {name}; there must be one")
    return changed
