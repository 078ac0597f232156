from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from operations.archive import MANIFEST, RECORD, ArchiveError, read_archive


def write(path: Path, *, version: str = "2.0", recorded: str = "2.0", digest: str = "abc") -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(MANIFEST, json.dumps({"model": {"modelName": "audio", "modelVersion": version}}))
        packed.writestr(RECORD, json.dumps({"name": "audio", "version": recorded, "digest": digest}))
    return path


@pytest.mark.parametrize("name", ["audio.mar", "audio-2.0.mar"])
def test_an_archive_tells_its_name_version_and_digest(tmp_path, name):
    archive = read_archive(write(tmp_path / name))
    assert (archive.name, archive.version, archive.digest) == ("audio", "2.0", "abc")


@pytest.mark.parametrize(
    ("name", "versions", "message"),
    [
        ("audio-2.0.mar", {"recorded": "1.0"}, "audio 2.0 in MAR-INF.*audio 1.0 in deepdetect"),
        ("audio-3.0.mar", {}, r"holds audio 2\.0; its name would be audio-2\.0\.mar"),
        ("video-2.0.mar", {}, r"holds audio 2\.0"),
    ],
)
def test_an_archive_that_contradicts_itself_is_refused(tmp_path, name, versions, message):
    with pytest.raises(ArchiveError, match=message):
        read_archive(write(tmp_path / name, **versions))


def test_what_is_no_archive_is_refused_by_name(tmp_path):
    with pytest.raises(ArchiveError, match="there is no archive .*absent.mar"):
        read_archive(tmp_path / "absent.mar")
    (tmp_path / "letter.mar").write_text("dear reader")
    with pytest.raises(ArchiveError, match="letter.mar is not an archive of this project"):
        read_archive(tmp_path / "letter.mar")
    with zipfile.ZipFile(tmp_path / "foreign.mar", "w") as packed:
        packed.writestr(MANIFEST, json.dumps({"model": {"modelName": "cats", "modelVersion": "1.0"}}))
    with pytest.raises(ArchiveError, match="foreign.mar is not an archive of this project"):
        read_archive(tmp_path / "foreign.mar")
