from __future__ import annotations

import pytest

from client.errors import ClientError
from operations.registry import FILE_NAME, Registry, Release

ONE, TWO = (Release(f"{number}.0", f"audio-{number}.0.mar", f"digest {number}") for number in (1, 2))


def test_a_history_is_kept_for_each_model(tmp_path):
    registry = Registry(tmp_path)
    assert (registry.history("audio"), registry.archives()) == ([], {})
    registry.set_history("audio", [ONE, TWO])
    registry.set_history("video", [TWO, ONE])
    again = Registry(tmp_path)
    assert (again.history("audio"), again.history("video")) == ([ONE, TWO], [TWO, ONE])
    assert again.archives() == {"audio": "audio-2.0.mar", "video": "audio-1.0.mar"}
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_back_at_the_first_version_the_configuration_holds_again(tmp_path):
    registry = Registry(tmp_path)
    registry.set_history("audio", [ONE, TWO])
    registry.set_history("audio", [ONE])
    assert registry.archives() == {}


@pytest.mark.parametrize("text", ["", "[1]", '{"audio": [{"version": "1.0"}]}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ClientError, match=FILE_NAME):
        Registry(tmp_path).history("audio")
