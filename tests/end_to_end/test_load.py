"""Many callers at once: each gets the answer to its own file."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

N_REQUESTS = 120
N_CALLERS = 12


def test_every_caller_gets_its_own_files_answer(http, over_grpc, sound):
    def call(index: int) -> None:
        data = sound + index.to_bytes(4, "big")  # bytes behind the data chunk are no sound
        client = over_grpc if index % 2 else http
        bad = index % 5 == 0
        reply = client.predict("audio", data[: index % 40] if bad else data, file_name=str(index))
        if bad:
            assert reply.error_code in ("empty_body", "unknown_container", "undecodable_media")
        else:
            assert reply.body["sha256"] == hashlib.sha256(data).hexdigest()
            assert reply.body["file_name"] == str(index)

    with ThreadPoolExecutor(N_CALLERS) as callers:
        list(callers.map(call, range(N_REQUESTS)))
