from __future__ import annotations

import os

import pytest

from deepdetect.screening.errors import ScreeningError
from deepdetect.screening.places import list_entries, open_place


def test_folders_globs_and_lists_name_each_file_once_in_order(catalogue, tmp_path):
    folder = catalogue(20)
    (folder / ".hidden").write_text("left out")
    everything = list_entries([str(folder)])
    assert [entry.path for entry in everything] == sorted(map(str, folder.glob("*/*")))
    clips = list_entries([f"{folder}/**/*.mp4"])
    assert [entry.path for entry in clips] == sorted(map(str, folder.glob("*/*.mp4")))
    (tmp_path / "list.txt").write_text(f"{folder}\n\n{clips[0].path}\n")
    assert list_entries([f"@{tmp_path}/list.txt", clips[0].path]) == everything


def test_a_file_that_changes_has_another_etag(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    (before,) = list_entries([str(path)])
    path.write_bytes(b"two!")
    (after,) = list_entries([str(path)])
    assert before.path == after.path
    assert before.etag != after.etag


def test_a_name_that_is_no_utf8_is_listed(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.mp3")
    with open(path, "wb"):
        pass
    (entry,) = list_entries([str(tmp_path)])
    assert os.fsencode(entry.path) == path


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("missing/", "missing/: no file is there; allowed: a file, folder, glob, URL or @LIST"),
        ("@missing.txt", "the list cannot be read"),
        ("ftp://host/folder", "allowed: a path, s3://, gs:// or az://"),
        ("s3://key:secret@bucket/folder", "belong in the environment"),
    ],
)
def test_a_source_that_is_not_there_is_named(source, told):
    with pytest.raises(ScreeningError, match=told):
        list_entries([source])


def test_a_file_is_published_whole_or_not_at_all(tmp_path, monkeypatch):
    place = open_place(str(tmp_path / "out")) / "parts" / "a.parquet"
    place.publish(b"rows")
    assert place.read() == b"rows"
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        place.publish(b"other rows")
    assert place.read() == b"rows"
