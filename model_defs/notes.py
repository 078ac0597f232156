"""What an answer warns of: a sentence for a person, and a code for a program."""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """One warning.

    Attributes:
        code: stable, in lower case, of the list in docs/request-contract.md.
        message: one sentence; it may change.
    """

    code: str
    message: str
