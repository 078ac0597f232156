from __future__ import annotations

import pytest

from model_defs.caching.settings import URL_VARIABLE, CacheSettings


def test_nothing_given_means_the_defaults():
    assert CacheSettings.from_dict(None) == CacheSettings()
    assert (CacheSettings().max_items, CacheSettings().store) == (100, "embedded")


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"max_item": 5}, r"max_item.*allowed: .*max_items"),
        ({"max_items": -1}, "max_items is -1"),
        ({"max_items": True}, "max_items is True"),
        ({"max_bytes": 1.5}, "max_bytes is 1.5"),
        ({"lease_s": 0}, "lease_s is 0"),
        ({"timeout_s": "1"}, "timeout_s is '1'"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"store": "disk"}, "store is 'disk'; allowed: memory, embedded, redis"),
        ({"path": 3}, "path is 3"),
        ({"store": "redis"}, URL_VARIABLE),
        ({"store": "redis", "url": "http://cache"}, "redis://"),
        ("embedded", "section"),
    ],
)
def test_mistakes_are_named(record, named, monkeypatch):
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=named):
        CacheSettings.from_dict(record)


def test_the_url_may_come_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, "redis://:secret@cache:6379/0")
    assert CacheSettings(store="redis").redis_url == "redis://:secret@cache:6379/0"
    assert "secret" not in repr(CacheSettings(store="redis", url="redis://:secret@cache:6379/0"))


def test_no_items_means_off():
    assert not CacheSettings(max_items=0).is_on


def test_the_environment_may_choose_another_store(monkeypatch):
    monkeypatch.setenv("DEEPDETECT_CACHE_STORE", "memory")
    assert CacheSettings.from_dict({"store": "embedded"}).store == "memory"
    monkeypatch.setenv("DEEPDETECT_CACHE_STORE", "redsi")
    with pytest.raises(ValueError, match="store is 'redsi'; allowed: memory, embedded, redis"):
        CacheSettings.from_dict(None)
