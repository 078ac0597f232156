"""Nothing in a file makes its reader open another file or a connection; the kernel is the witness."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import pytest

from model_defs.decoding.media import Media
from model_defs.decoding.reader import refuse_reference
from model_defs.errors import DetectionError
from model_defs.limits import Limits
from tests.clips import write_audio
from tests.hostile.references import references

_IN_OPEN = 0x20  # inotify(7)


class Canary:
    """A sound file that notices when it is opened, and an address that notices a caller."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "canary.wav"
        self.path.write_bytes(write_audio(duration_s=0.5))
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(self._watch, os.fsencode(self.path), _IN_OPEN) >= 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def was_opened(self) -> bool:
        try:
            return bool(os.read(self._watch, 65_536))
        except BlockingIOError:
            return False

    def was_called(self) -> bool:
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._watch)
        self._socket.close()


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    canary = Canary(tmp_path)
    yield canary
    canary.close()


def test_the_canary_notices(canary: Canary):
    assert not canary.was_opened()
    canary.path.read_bytes()
    assert canary.was_opened()
    assert not canary.was_called()
    socket.create_connection(("127.0.0.1", int(canary.address.split(":")[1]))).close()
    assert canary.was_called()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ffconcat of a path", {"safe": "0"}),
        ("hls playlist of a path", {"allowed_segment_extensions": "ALL", "extension_picky": "0"}),
        ("mp4 with an alias to a path", {"enable_drefs": "1", "use_absolute_path": "1"}),
    ],
)
def test_these_files_do_open_others_in_a_reader_that_lets_them(
    canary: Canary, tmp_path: Path, name: str, options: dict
):
    path = tmp_path / "file.m3u8"
    path.write_bytes(dict(references(str(canary.path), canary.address))[name])
    with suppress(av.FFmpegError), av.open(f"file:{path}", options=options) as container:
        list(container.decode())
    assert canary.was_opened()


@pytest.mark.parametrize("as_path", [True, False])
def test_no_file_and_no_address_is_opened(canary: Canary, tmp_path: Path, as_path: bool):
    files = dict(references(str(canary.path), canary.address))
    assert len(files) >= 30
    for index, (name, data) in enumerate(files.items()):
        path = tmp_path / f"{index}.mp4"
        path.write_bytes(data)
        with suppress(DetectionError), Media(path if as_path else data, Limits()) as media:
            for take in (lambda media=media: media.frames(2), lambda media=media: media.audio_segments(16_000, 4.0, 8)):
                with suppress(DetectionError):
                    take()
        assert not canary.was_opened(), name
        assert not canary.was_called(), name


def test_playlists_are_no_containers(canary: Canary):
    for name, data in references(str(canary.path), canary.address):
        if data[4:8] != b"ftyp" and not data.startswith(b"\x1aE\xdf\xa3"):
            with pytest.raises(DetectionError) as refusal:
                Media(data)
            assert refusal.value.code == "unknown_container", name


def test_libav_asks_before_it_opens_anything_and_is_refused():
    with pytest.raises(DetectionError, match="refers to other files"):
        refuse_reference("file:/etc/hostname", 0, {})
