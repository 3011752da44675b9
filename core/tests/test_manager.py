"""`CacheManager`: an ordinary object that makes caches by name and closes them (SPEC 5)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from dict_driver import JSON, DictDriver, DictPlugin, FailingDriver, managed

from codomyrmex.cache import CacheError, CacheInvalidationError, CacheManager


def test_which_caches_there_are() -> None:
    """`list_caches` and `has_cache` know those that are open and those that have a table."""
    with managed({"caches": {"table": JSON}, "defaults": JSON}) as manager:
        assert ["table"] == manager.list_caches()
        manager.get_cache("open")
        assert ["open", "table"] == manager.list_caches()
        assert [True, True, False] == [manager.has_cache(name) for name in ("open", "table", "other")]


def test_removing(manager: CacheManager) -> None:
    """`remove_cache` closes a cache and forgets it; the next one of that name is another object."""
    cache = manager.get_cache("app", ttl=5)
    assert [True, False] == [manager.remove_cache("app"), manager.remove_cache("app")]
    with pytest.raises(CacheError, match="closed"):
        cache.get("key")
    again = manager.get_cache("app", ttl=60)
    assert again is not cache
    assert 60 == again.ttl_manager.default


def test_closing_a_cache(manager: CacheManager) -> None:
    """A cache that its user closed is made anew when it is asked for again."""
    first = manager.get_cache("app")
    with first:
        first.set("key", 1)
    second = manager.get_cache("app")
    assert first is not second
    assert None is second.get("key")
    assert ["app"] == manager.list_caches()


def test_closing_the_manager() -> None:
    """A closed manager has closed its caches and makes none; a second call does nothing."""
    with managed() as manager:
        cache, view = manager.get_cache("one"), manager.get_async_cache("two")
        driver = cache._driver
        driver.store.set("raw", b"")
    manager.close()
    assert {} == driver.store.data
    for call in (lambda: cache.get("key"), lambda: manager.get_cache("one"), lambda: manager.get_async_cache("two")):
        with pytest.raises(CacheError, match="closed"):
            call()
    assert view._store.closed


def test_a_driver_is_closed_once(manager: CacheManager) -> None:
    """Whoever closes first, and however often."""

    class Counts(DictDriver):
        closed = 0

        def close(self) -> None:
            type(self).closed += 1

    with managed(driver=Counts) as manager:
        cache = manager.get_cache("app")
        manager.get_async_cache("app")
        cache.close()
        cache.close()
        manager.remove_cache("app")
    assert 1 == Counts.closed


def test_clear_all(manager: CacheManager) -> None:
    """`clear_all` clears every open cache."""
    caches = [manager.get_cache(name) for name in ("a", "b")]
    for cache in caches:
        cache.set("key", 1)
    manager.clear_all()
    assert [[], []] == [cache.keys() for cache in caches]


def test_clear_all_of_which_one_fails() -> None:
    """Those that can be cleared are, and the error names those that can't."""
    with managed(driver=FailingDriver) as manager:
        first, failing, last = (manager.get_cache(name) for name in ("a", "b", "c"))
        for cache in (first, failing, last):
            cache.set("key", 1)
        failing._driver.down = True
        with pytest.raises(CacheInvalidationError, match="'b'") as caught:
            manager.clear_all()
        assert isinstance(caught.value.__cause__, CacheInvalidationError)
        failing._driver.down = False
        assert [[], ["key"], []] == [cache.keys() for cache in (first, failing, last)]


def test_one_cache_for_many_threads() -> None:
    """Threads that ask for a name at the same time get one object, made once."""
    plugin = DictPlugin()
    with CacheManager({"defaults": JSON}, environ={}) as manager:
        manager.register(plugin, "dict")
        barrier = threading.Barrier(8)
        found: list[Any] = []

        def ask() -> None:
            barrier.wait(timeout=30)
            found.append(manager.get_cache("app"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert [manager.get_cache("app")] * 8 == found
        assert 1 == len(plugin.made)


def test_two_managers() -> None:
    """Managers share nothing but the process."""
    with managed() as one, managed() as two:
        one.get_cache("app").set("key", 1)
        assert None is two.get_cache("app").get("key")
        assert one.get_cache("app") is not two.get_cache("app")


def test_a_cache_that_could_not_be_made(manager: CacheManager) -> None:
    """A failed attempt leaves nothing behind: the next one with right settings succeeds."""
    with pytest.raises(CacheError):
        manager.get_cache("app", path="")
    assert [] == manager.list_caches()
    assert "here" == manager.get_cache("app", path="here").explain("key").cache.replace("app", "here")


def test_both_views_are_one_store(manager: CacheManager) -> None:
    """`get_async_cache` is a second view of the same store and statistics, whichever is asked for first."""
    for name in ("sync first", "async first"):
        name = name.replace(" ", "-")
        if name.startswith("async"):
            manager.get_async_cache(name)
        cache = manager.get_cache(name)
        assert cache._store is manager.get_async_cache(name)._store
        assert cache._driver is manager.get_async_cache(name)._driver
