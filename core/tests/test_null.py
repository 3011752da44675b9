"""The backend ``null``: the off switch (SPEC 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from codomyrmex.cache import CacheConfigError, CacheKeyError, CacheManager
from codomyrmex.cache.testing import Awaited, ManualClock


@pytest.fixture
def manager(clock: ManualClock) -> Iterator[CacheManager]:
    with CacheManager({"defaults": {"backend": "null"}}, clock=clock, environ={}) as manager:
        yield manager


@pytest.fixture(params=["sync", "async"])
def cache(manager: CacheManager, request: pytest.FixtureRequest) -> Any:
    return manager.get_cache() if request.param == "sync" else Awaited(manager.get_async_cache())


def test_writes_succeed_and_are_forgotten(cache: Any) -> None:
    """Every write succeeds as it would elsewhere; nothing is there afterwards."""
    assert cache.set("a", 1, ttl=5, tags=["tag"], stale_for=5) is True
    assert cache.set_many({"a": 1, "b": 2}) is True
    assert cache.add("a", 1) is True
    assert cache.add("a", 1) is True
    assert cache.incr("n", 2, initial=3) == 5
    assert cache.incr("n") == 1
    assert cache.decr("n") == -1
    assert cache.get("a") is None
    assert cache.get_many(["a", "b", "n"]) == {}
    assert cache.keys() == []
    assert cache.stats.entries == 0
    assert cache.ttl("a") is None
    assert cache.explain("a").state == "absent"


def test_there_is_nothing_to_remove(cache: Any) -> None:
    """Removing says that nothing was there, and invalidations pass."""
    cache.set("a", 1, tags=["tag"])
    assert cache.delete("a") is False
    assert cache.delete_many(["a", "b"]) == 0
    assert cache.delete_pattern("*") == 0
    assert cache.pop("a", 5) == 5
    assert cache.touch("a", 5) is False
    assert cache.expire("a") is False
    cache.invalidate_tags("tag", "other")
    cache.clear()
    with pytest.raises(CacheKeyError):
        cache["a"]


def test_mistakes_are_errors_here_too(cache: Any) -> None:
    """A program that is tested with the switch off doesn't fail when it is on."""
    with pytest.raises(CacheKeyError):
        cache.get("")
    with pytest.raises(CacheKeyError):
        cache.set("a", 1, tags="tag")
    with pytest.raises(CacheConfigError):
        cache.set("a", 1, ttl=0)


def test_counts(cache: Any) -> None:
    """Reads are misses, writes are counted."""
    cache.set("a", 1)
    cache.get("a")
    cache.get_many(["a", "b"])
    assert (cache.stats.hits, cache.stats.misses, cache.stats.sets) == (0, 3, 1)


def test_locks_exclude(cache: Any, clock: ManualClock) -> None:
    """Code around a lock still excludes others when caching is off, for as long as the lock's ttl."""
    with cache.lock("job", ttl=10) as lock:
        assert lock.held() is True
        with pytest.raises(TimeoutError), cache.lock("job", ttl=10, wait=0):
            pytest.fail("two holders of one lock")
        clock.advance(9)
        lock.renew()
        clock.advance(9)
        assert lock.held() is True
    with cache.lock("job", ttl=10, wait=0):
        pass


def test_nothing_piles_up(manager: CacheManager, clock: ManualClock) -> None:
    """Locks that were never given back and tags leave nothing behind once their time is over."""
    cache = manager.get_cache()
    for number in range(100):
        cache.lock(f"job:{number}", ttl=10).__enter__()
        cache.set("a", 1, tags=[f"tag:{number}"])
        cache.set("b", 1, ttl=5, tags=[f"short:{number}"])
        cache.invalidate_tags(f"tag:{number}")
        clock.advance(200_000)
    assert len(cache._driver._own) <= 3


def test_no_options_of_its_own() -> None:
    """Options that mean nothing to it are errors."""
    manager = CacheManager({"defaults": {"backend": "null", "path": "x"}}, environ={})
    with pytest.raises(CacheConfigError, match=r"'default' \(null\).*'path'"):
        manager.get_cache()
