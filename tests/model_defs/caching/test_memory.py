from concurrent.futures import ThreadPoolExecutor

import pytest

from model_defs.caching.memory import ModelCache


def test_the_least_recently_used_entry_goes_first():
    cache = ModelCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)
    assert cache.get("b") is None
    assert cache.get("a") == 1
    assert cache.get("c") == 3


def test_an_entry_put_again_is_recent_and_counts_once():
    cache = ModelCache(2)
    for key, value in [("a", 1), ("b", 2), ("a", 10), ("c", 3)]:
        cache.put(key, value)
    assert (cache.get("a"), cache.get("b"), len(cache)) == (10, None, 2)


def test_statistics_count_hits_misses_and_evictions():
    cache = ModelCache(1)
    cache.get("a")
    cache.put("a", 1)
    cache.get("a")
    cache.put("b", 2)
    stats = cache.stats()
    assert stats["items"] == stats["max_items"] == stats["hits"] == stats["misses"] == stats["evictions"] == 1


def test_a_cache_of_no_items_keeps_nothing():
    cache = ModelCache(0)
    cache.put("a", 1)
    assert cache.get("a") is None
    assert len(cache) == 0


@pytest.mark.parametrize("name", ["max_items", "max_bytes"])
def test_a_negative_size_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is -1"):
        ModelCache(**{name: -1})


def test_bytes_are_bounded_too():
    cache = ModelCache(100, max_bytes=10, sizeof=len)
    for key, value in [("a", b"aaaa"), ("b", b"bbbb"), ("a", b"aa"), ("c", b"cccc")]:
        cache.put(key, value)
    assert (cache.stats()["bytes"], len(cache)) == (10, 3)
    cache.put("d", b"ddd")
    assert (cache.get("b"), cache.get("a"), cache.stats()["bytes"]) == (None, b"aa", 9)


def test_a_value_larger_than_the_whole_cache_pushes_nothing_out():
    cache = ModelCache(100, max_bytes=10, sizeof=len)
    cache.put("a", b"aaaa")
    cache.put("b", bytes(11))
    assert (cache.get("a"), cache.get("b"), cache.stats()["bytes"]) == (b"aaaa", None, 4)
    cache.put("a", bytes(11))  # the old value is not the key's any more
    assert cache.get("a") is None
    assert cache.stats()["bytes"] == 0


def test_clear_forgets_everything():
    cache = ModelCache(3)
    cache.put("a", 1)
    cache.clear()
    assert cache.get("a") is None


def test_threads_never_see_another_keys_value_and_the_bound_holds():
    cache = ModelCache(16)

    def work(seed: int) -> bool:
        own = True
        for step in range(2_000):
            key = (seed * step) % 50
            cache.put(key, key)
            value = cache.get(key)
            own &= value is None or value == key
        return own

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(1, 9)))
    assert len(cache) <= 16
    stats = cache.stats()
    assert stats["hits"] + stats["misses"] == 8 * 2_000
