"""Other bytes, the same pictures and sound: uploads that no cache knows."""

from __future__ import annotations

import os

N_BYTES = 16  # random, so that two uploads never meet
ID3V1_BYTES = 128


def unique(data: bytes, payload: bytes | None = None) -> bytes:
    """The file with a few random bytes at its end, in the form in which its container lets readers skip them.

    Other bytes may be given, N_BYTES of them: the same ones make the same file.

    An mp4 or mov gets a `free` box, Matroska and WebM a Void element, wav and avi a JUNK chunk, and everything else
    an ID3v1 tag, which readers of mp3, flac, ogg and aac pass over.
    """
    payload = os.urandom(N_BYTES) if payload is None else payload
    if data[4:8] == b"ftyp":
        return data + (8 + N_BYTES).to_bytes(4, "big") + b"free" + payload
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return data + bytes([0xEC, 0x80 | N_BYTES]) + payload
    if data[:4] == b"RIFF":
        return data + b"\0" * (len(data) % 2) + b"JUNK" + N_BYTES.to_bytes(4, "little") + payload
    return data + (b"TAG" + payload.hex().encode()[:30]).ljust(ID3V1_BYTES, b"\0")
