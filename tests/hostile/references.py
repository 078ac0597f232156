"""Files that ask their reader to open another file or a connection, and files that are no media at all."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from tests.clips import write_clip
from tests.hostile.binary import (
    PCM,
    Named,
    box,
    cluster,
    data_reference,
    element,
    full_box,
    matroska,
    mp4,
    number,
    sound_entry,
    sound_track,
    trak,
)


def references(path: str, address: str) -> Iterator[Named]:
    """Files that ask the reader to open another file (`path`, absolute) or a connection (`address`, host:port)."""
    urls = {
        "a path": path,
        "a file": f"file://{path}",
        "http": f"http://{address}/a.ts",
        "tcp": f"tcp://{address}",
        "a concatenation": f"concat:{path}|{path}",
    }
    for kind, url in urls.items():
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n"
        yield f"hls playlist of {kind}", playlist.encode()
        yield f"ffconcat of {kind}", f"ffconcat version 1.0\nfile '{url}'\n".encode()
        yield f"mp4 with a url reference to {kind}", mp4(trak(sound_entry(), dref=_url(url)))
        yield f"mp4 with an alias to {kind}", mp4(trak(sound_entry(), dref=_alias(url)))
    key = f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{path}"\n#EXT-X-MAP:URI="{path}"\n#EXTINF:5,\n{path}\n'
    yield "hls playlist with a key", key.encode()
    yield "hls master playlist", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://{address}/b.m3u8\n".encode()
    mpd = f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><BaseURL>file://{path}'
    yield "dash manifest", f'{mpd}</BaseURL><Period><AdaptationSet mimeType="video/mp4"/></Period></MPD>'.encode()
    host, port = address.split(":")
    sdp = (
        f"v=0\no=- 0 0 IN IP4 {host}\ns=x\nc=IN IP4 {host}\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )
    yield "session description", sdp.encode()
    rdrf = full_box(b"rdrf", b"url ", struct.pack(">I", len(path) + 1), path.encode() + b"\0")
    movie = box(b"moov", box(b"rmra", box(b"rmda", rdrf)))
    yield "reference movie", box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + movie
    yield "asx playlist", f'<asx version="3.0"><entry><ref href="http://{address}/a"/></entry></asx>'.encode()
    yield "svg with an image", f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{path}"/></svg>'.encode()
    yield "vobsub index", f"# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n# {path}\n".encode()
    linked = element("3c83ab", path.encode()) + element("3e83bb", path.encode()) + element("3eb923", bytes(16))
    yield "matroska with linked segments", matroska(sound_track(), info=linked, clusters=cluster(0, PCM[:640]))
    name, body = element("466e", path.encode()), element("465c", b"#EXTM3U\n" + path.encode())
    attached = element("1941a469", element("61a7", name, element("4660", b"font/ttf"), body, number("46ae", 7)))
    yield "matroska with an attachment", matroska(sound_track(), extra=attached, clusters=cluster(0, PCM[:640]))


def no_media() -> Iterator[Named]:
    """Other kinds of file, archives and packed films among them."""
    clip = write_clip(duration_s=0.2)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clip.mp4", bytes(5_000_000))
    yield "zip bomb", packed.getvalue()
    yield "gzip bomb", gzip.compress(bytes(5_000_000), mtime=0)
    yield "bzip2 bomb", bz2.compress(bytes(5_000_000))
    yield "zlib bomb", zlib.compress(bytes(5_000_000))
    yield "gzipped film", gzip.compress(clip, mtime=0)
    yield "film as base64 text", base64.b64encode(clip)
    yield "film as hex text", clip.hex().encode()
    yield "text", b"not a film, but a letter\n" * 50
    yield "one byte", b"\0"
    yield "one million zeros", bytes(1_000_000)
    yield "one million 0xff", b"\xff" * 1_000_000
    yield "subtitles", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n\n" * 20
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(1000)
    yield "pdf", b"%PDF-1.7\n" + bytes(1000)
    yield "json", b'{"data": ' * 5_000
    yield "xml entities", b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    yield "mpegts", write_clip("mpegts", duration_s=0.2)
    yield "flv", write_clip("flv", duration_s=0.2)


def _url(url: str) -> bytes:
    return data_reference(full_box(b"url ", url.encode() + b"\0"))


def _alias(path: str) -> bytes:
    """A Macintosh alias record with a POSIX path, which libav knows how to follow."""
    encoded = path.encode()
    volume = bytes([4]) + b"root" + bytes(23)
    name = encoded.rsplit(b"/", 1)[-1][:60]
    fixed = bytes(4) + struct.pack(">HH", 150, 2) + bytes(2) + volume + bytes(12)
    fixed += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    tags = struct.pack(">hh", 2, len(encoded)) + encoded + b"\0" * (len(encoded) % 2)
    tags += struct.pack(">hh", 18, len(encoded)) + encoded + b"\0" * (len(encoded) % 2) + struct.pack(">hh", -1, 0)
    return data_reference(full_box(b"alis", fixed, tags))
