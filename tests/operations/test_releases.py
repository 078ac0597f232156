"""Archives that lie outside of the model store are brought there, and nothing in it is replaced."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from operations.archive import MANIFEST, RECORD, ArchiveError
from operations.releases import Releases


def write_archive(path: Path, digest: str) -> Path:
    name, _, version = path.stem.partition("-")
    path.parent.mkdir(exist_ok=True)
    with ZipFile(path, "w") as archive:
        archive.writestr(MANIFEST, json.dumps({"model": {"modelName": name, "modelVersion": version}}))
        archive.writestr(RECORD, json.dumps({"name": name, "version": version, "digest": digest}))
    return path


@pytest.fixture
def releases(tmp_path) -> Releases:
    (tmp_path / "store").mkdir()
    server = SimpleNamespace(management_api=None, http_client=lambda: None, model_store=tmp_path / "store")
    return Releases(server)


def test_an_archive_from_elsewhere_is_copied(releases, tmp_path):
    source = write_archive(tmp_path / "built" / "audio-2.0.mar", "abc")
    for _ in range(2):
        packed = releases._stored(source)
        assert (packed.path, packed.digest) == (releases.store / "audio-2.0.mar", "abc")
    assert [path.name for path in releases.store.iterdir()] == ["audio-2.0.mar"]


def test_one_of_other_contents_is_not_put_in_its_place(releases, tmp_path):
    write_archive(releases.store / "audio-2.0.mar", "abc")
    with pytest.raises(ArchiveError, match="another audio-2.0.mar"):
        releases._stored(write_archive(tmp_path / "built" / "audio-2.0.mar", "def"))


def test_what_is_no_archive_is_not_copied(releases, tmp_path):
    sound = tmp_path / "speech.wav"
    sound.write_bytes(b"RIFF")
    with pytest.raises(ArchiveError, match="not in the model store"):
        releases._stored(sound)
    assert not list(releases.store.iterdir())
