"""Which versions were promoted: `releases.json`, beside the archives in the model store.

TorchServe forgets its default version when it stops, and never knows the one before. The file lies in the model store
because that is what it speaks of: whoever keeps the store keeps the way back.

    {"ensemble": [{"version": "1.0", "archive": "ensemble-1.0.mar", "digest": "..."},
                  {"version": "2.0", "archive": "ensemble-2.0.mar", "digest": "..."}]}

The last entry of a model is its default, the one before is what `roll-back` returns to. A model that nobody promoted
has no entry: there `load_models` of config.properties holds.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from client.errors import ClientError

FILE_NAME = "releases.json"


@dataclass(frozen=True)
class Release:
    """A version that was the default once: its archive in the model store, and what that was made of."""

    version: str
    archive: str
    digest: str


class Registry:
    """The releases of one model store.

    Args:
        model_store: its directory.
    """

    def __init__(self, model_store: Path) -> None:
        self.path = model_store / FILE_NAME

    def history(self, model: str) -> list[Release]:
        """The defaults of a model, the present one last; empty if none was ever promoted.

        Raises:
            ClientError: the file is damaged.
        """
        return self._read().get(model, [])

    def set_history(self, model: str, history: Sequence[Release]) -> None:
        """Replaces the file in one step; a history of one version or none is forgotten.

        Raises:
            ClientError: the file cannot be written.
        """
        releases = self._read() | {model: list(history)}
        kept = {name: [asdict(each) for each in entries] for name, entries in releases.items() if len(entries) > 1}
        try:
            descriptor, partial = tempfile.mkstemp(dir=self.path.parent, prefix=".releases-")
            with open(descriptor, "w") as file:
                json.dump(kept, file, indent=2)
                file.write("\n")
            os.chmod(partial, 0o644)
            os.replace(partial, self.path)
        except OSError as error:
            raise ClientError(
                f"{self.path} cannot be written: {error.strerror}; the next restart forgets it"
            ) from error

    def archives(self) -> dict[str, str]:
        """Model -> the archive of its default version, for models that were promoted."""
        return {model: history[-1].archive for model, history in self._read().items()}

    def _read(self) -> dict[str, list[Release]]:
        try:
            stored = json.loads(self.path.read_text())
            return {model: [Release(**entry) for entry in entries] for model, entries in stored.items() if entries}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ClientError(
                f"{self.path} cannot be read: {error}; mend it, or delete it to forget the past"
            ) from error
