from __future__ import annotations

from dataclasses import replace

from deepdetect.screening.places import Entry
from deepdetect.screening.shards import make_shards

ENTRIES = [Entry(f"{index}.mp4", f"etag {index}", index) for index in range(7)]


def test_shards_hold_every_file_once_and_are_named_by_all_that_their_rows_depend_on():
    shards = make_shards(ENTRIES, {"frames": "4"}, "digest", 3)
    assert [len(shard.entries) for shard in shards] == [3, 3, 1]
    assert [entry for shard in shards for entry in shard.entries] == ENTRIES
    names = {shard.id for shard in shards}
    assert names == {shard.id for shard in make_shards(ENTRIES, {"frames": "4"}, "digest", 3)}
    others = [
        make_shards(ENTRIES, {"frames": "5"}, "digest", 3),
        make_shards(ENTRIES, {"frames": "4"}, "another", 3),
        make_shards([replace(entry, etag="new") for entry in ENTRIES], {"frames": "4"}, "digest", 3),
        make_shards([replace(entry, n_bytes=99) for entry in ENTRIES], {"frames": "4"}, "digest", 3),
    ]
    for changed in others:
        assert not names & {shard.id for shard in changed}
