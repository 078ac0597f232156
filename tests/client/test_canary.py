from __future__ import annotations

import hashlib

import pytest

from client.canary import CanaryClient, compare, find_clips, in_share
from client.errors import ClientError, ServerUnavailable
from client.reply import Reply


class Recorder:
    """A client whose versions call every file Real, but for those named in `fake`; `broken` ones fail."""

    def __init__(self, *, fake: tuple = (), broken: tuple = ()) -> None:
        self.fake = fake
        self.broken = broken
        self.calls: list[tuple[str, str | None, bytes]] = []

    def predict(self, model, data, *, file_name="", options=None, version=None) -> Reply:
        self.calls.append((model, version, data))
        if version in self.broken:
            raise ServerUnavailable("no worker")
        p_fake = 0.9 if version in self.fake else 0.1
        verdict = "Fake" if p_fake > 0.5 else "Real"
        return Reply(200, {"prediction": verdict, "probabilities": {"fake": p_fake}, "cache": "miss"})


FILES = [str(number).encode() for number in range(400)]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_files_goes_to_the_new_version_the_same_ones_each_time(share):
    chosen = []
    for _ in range(2):
        client = Recorder()
        canary = CanaryClient(client, "audio", "2.0", share, compare=False)
        for data in FILES:
            canary.predict("audio", data)
        chosen.append([data for _, version, data in client.calls if version == "2.0"])
        assert canary.n_new + canary.n_old == len(client.calls) == len(FILES)
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == pytest.approx(share * len(FILES), abs=40)


def test_both_versions_are_compared_on_the_share_and_callers_are_told():
    client, seen = Recorder(fake=("2.0",)), []
    canary = CanaryClient(client, "audio", "2.0", 1.0, on_pair=seen.append)
    replies = [canary.predict("audio", data, file_name=data.decode()) for data in FILES[:20]]
    canary.close()
    assert {reply.body["prediction"] for reply in replies} == {"Fake"}
    comparison = canary.comparison()
    assert seen == list(comparison.pairs)
    assert (len(comparison.pairs), comparison.agreement) == (20, 0.0)
    assert [pair.file for pair in comparison.disagreements] == [data.decode() for data in FILES[:20]]
    assert (comparison.pairs[0].old.verdict, comparison.pairs[0].new.verdict) == ("Real", "Fake")
    sent = [data for _, _, data in client.calls]
    assert len(set(sent)) == len(sent)  # the second opinion has bytes of its own, so no cache spares it the work


def test_a_broken_version_costs_no_caller_anything():
    client = Recorder(broken=("2.0",))
    canary = CanaryClient(client, "audio", "2.0", 1.0)
    assert [canary.predict("audio", data).status for data in FILES[:5]] == [200] * 5
    canary.close()
    comparison = canary.comparison()
    assert (canary.n_rescued, comparison.n_failed("new"), comparison.n_failed("old")) == (5, 5, 0)
    assert comparison.pairs[0].file == hashlib.sha256(FILES[0]).hexdigest()


def test_other_models_and_named_versions_pass_unchanged():
    client = Recorder()
    canary = CanaryClient(client, "audio", "2.0", 1.0)
    canary.predict("video", b"a")
    canary.predict("audio", b"a", version="1.0")
    canary.close()
    assert client.calls == [("video", None, b"a"), ("audio", "1.0", b"a")]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="allowed: 0 to 1"):
        CanaryClient(Recorder(), "audio", "2.0", share)


def test_the_ends_of_the_share():
    assert not in_share(bytes(32), 0.0)
    assert in_share(b"\xff" * 32, 1.0)


def test_clips_are_judged_in_pairs_that_alternate_and_share_no_bytes(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(name.encode())
    client = Recorder(fake=("2.0",))
    pairs = list(compare(client, "audio", "1.0", "2.0", find_clips([tmp_path]), n_repeats=2))
    assert [version for _, version, _ in client.calls] == ["1.0", "2.0", "2.0", "1.0", "1.0", "2.0", "2.0", "1.0"]
    assert len({data for _, _, data in client.calls}) == 8
    assert [(pair.old.verdict, pair.new.verdict) for pair in pairs] == [("Real", "Fake")] * 4


def test_clips_are_found_in_folders_and_thinned_evenly(tmp_path):
    (tmp_path / "deep").mkdir()
    for number in range(6):
        (tmp_path / "deep" / f"{number}.MP4").touch()
    (tmp_path / "notes.txt").touch()
    assert [path.name for path in find_clips([tmp_path])] == [f"{number}.MP4" for number in range(6)]
    assert [path.name for path in find_clips([tmp_path], max_clips=3)] == ["0.MP4", "2.MP4", "4.MP4"]
    assert find_clips([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClientError, match=r"no media files in .*empty; their endings: .*\.mp4"):
        find_clips([tmp_path / "empty"])
    with pytest.raises(ClientError, match="there is no .*absent"):
        find_clips([tmp_path / "absent"])
