"""The hostile corpus in a process of its own: a crash would be laid to its file. `make fuzz` runs many more."""

from __future__ import annotations

from collections import Counter

import pytest

from model_defs.decoding.containers import CONTAINERS
from model_defs.decoding.media import Media
from model_defs.limits import Limits
from tests.hostile.corpus import crafted, mutated
from tests.hostile.trial import Trial, try_files
from tests.hostile.valid import valid_files

N_MUTATED = 1_000
MOST_MIB = 500.0


def test_the_fuzzer_starts_from_every_container_on_the_list():
    found = Counter()
    for name, data in valid_files().items():
        with Media(data) as media:
            found[media._file._container.format.name] += 1
            if media.video is not None:
                assert media.frames(3), name
            assert media.audio_segments(16_000, 4.0, 8), name
    assert set(found) == set(CONTAINERS)


def test_a_seed_always_makes_the_same_files():
    assert list(mutated(30, 5)) == list(mutated(30, 5))
    assert list(mutated(30, 5)) != list(mutated(30, 6))
    names = [name for name, _ in crafted()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", ["crafted", "mutated"])
def test_nothing_crashes_hangs_or_gets_out_but_a_refusal(kind: str):
    files = crafted() if kind == "crafted" else tuple(mutated(N_MUTATED, 1))
    trials = list(try_files([data for _, data in files], "decode"))
    assert [trial.index for trial in trials] == list(range(len(files)))
    assert [(files[trial.index][0], trial.outcome) for trial in trials if trial.is_fault] == []
    assert [(files[trial.index][0], trial.peak_mib) for trial in trials if trial.peak_mib > MOST_MIB] == []
    assert len({trial.outcome for trial in trials}) >= 5


def test_a_crash_is_laid_to_its_file(monkeypatch):
    import os

    from tests.hostile import trial

    monkeypatch.setattr(trial, "decode", lambda data, limits: os.abort() if data == b"die" else "ok")
    trials = list(try_files([b"a", b"die", b"b"], "decode", Limits()))
    assert [each.outcome for each in trials] == ["ok", "crash: exit status -6", "ok"]
    assert [each.is_fault for each in trials] == [False, True, False]
    assert isinstance(trials[1], Trial)
