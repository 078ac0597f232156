from concurrent.futures import ThreadPoolExecutor

import pytest

from model_defs.cache import ModelCache


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
    assert cache.stats() == {"items": 1, "max_items": 1, "hits": 1, "misses": 1, "evictions": 1}


def test_a_cache_of_no_items_keeps_nothing():
    cache = ModelCache(0)
    cache.put("a", 1)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="max_items is -1"):
        ModelCache(-1)


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
