"""What ``in_memory`` promises beyond the kit: bounds, objects, events, threads, forks."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from invariants import check_memory

from codomyrmex.cache import Cache, CacheConfigError, CacheFullError, CacheManager, hookimpl
from codomyrmex.cache._reaper import purge
from codomyrmex.cache.eviction import Removal
from codomyrmex.cache.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def manager(clock: ManualClock) -> Iterator[CacheManager]:
    with CacheManager(clock=clock, environ={}) as manager:
        yield manager


class Listener:
    """Remembers every removal."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []

    @hookimpl
    def on_evict(self, event: Removal) -> None:
        self.seen.append((event.key, event.cause.value, event.value))


@pytest.fixture
def heard(clock: ManualClock) -> Iterator[tuple[Cache[Any], Listener]]:
    listener = Listener()
    with CacheManager({"plugins": {"enable": ["listener"]}}, clock=clock, environ={}) as manager:
        manager.register(listener, "listener")
        yield manager.get_cache("cache", max_entries=3, eviction="fifo"), listener


def test_the_object_itself(manager: CacheManager) -> None:
    """Without copies the very object comes back, whatever it is."""
    cache = manager.get_cache("cache")
    value = object()
    cache.set("key", value)
    assert cache.get("key") is value
    assert cache.get_many(["key"])["key"] is value
    assert cache.pop("key") is value


def test_copies(manager: CacheManager) -> None:
    """With copies nobody changes a stored value by accident, neither who stored it nor who got it."""
    cache = manager.get_cache("cache", copy=True)
    value = {"list": [1]}
    cache.set("key", value)
    value["list"].append(2)
    cache.get("key")["list"].append(3)
    cache["key"]["list"].append(4)
    cache.get_many(["key"])["key"]["list"].append(5)
    assert cache.get("key") == {"list": [1]}


def test_causes(heard: tuple[Cache[Any], Listener], clock: ManualClock) -> None:
    """A listener hears of every entry that leaves, under the user's key, with its cause and value."""
    cache, listener = heard
    cache.set("a", 1)
    cache.set("a", 2)
    cache.namespace("ns").set("b", 3)
    cache.set("c", 4)
    cache.set("d", 5)
    cache.delete("ns:b")
    cache.pop("c")
    cache.set("e", 6, ttl=10)
    clock.advance(20)
    purge(cache._driver, cache._store.recorder)
    cache.clear()
    assert listener.seen == [
        ("a", "replaced", 1),
        ("a", "capacity", 2),
        ("ns:b", "deleted", 3),
        ("c", "deleted", 4),
        ("e", "expired", 6),
        ("d", "cleared", 5),
    ]
    stats = cache.stats
    assert (stats.evictions, stats.expirations, stats.deletes) == (1, 1, 2)


def test_a_listener_may_use_the_cache(clock: ManualClock) -> None:
    """Listeners are called when no lock is held, from whatever thread."""

    class Revives:
        @hookimpl
        def on_evict(self, event: Removal) -> None:
            def work() -> None:
                cache.set(f"{event.cause.value}:{event.key}", event.value) if ":" not in event.key else None

            thread = threading.Thread(target=work)
            thread.start()
            thread.join(timeout=30)
            assert not thread.is_alive()

    with CacheManager({"plugins": {"enable": ["revives"]}}, environ={}) as manager:
        manager.register(Revives(), "revives")
        cache = manager.get_cache("cache")
        cache.set("a", 1)
        cache.set("a", 2)
        cache.delete("a")
        assert cache.get_many(["replaced:a", "deleted:a"]) == {"replaced:a": 1, "deleted:a": 2}


def test_bounded_by_bytes(manager: CacheManager) -> None:
    """All values together never count for more than ``max_bytes``; one that can't fit is refused."""
    cache = manager.get_cache("cache", max_entries="none", max_bytes=1000, sizer=len)
    for number in range(100):
        cache.set(f"key:{number}", "x" * (number % 300 + 1))
        cache.set("grows", "x" * (number * 9 + 1))
        check_memory(cache._driver)
        assert cache.get("grows") is not None
    with pytest.raises(CacheFullError, match="larger than the whole cache"):
        cache.set("grows", "x" * 1001)
    assert len(cache.get("grows")) == 99 * 9 + 1
    assert cache.stats.max_bytes == 1000


@pytest.mark.parametrize(
    ("sizer", "said"),
    [
        (lambda _: -5, "it gave -5 for a value of type str"),
        (lambda _: float("nan"), "it gave a float for"),
        (lambda _: None, "it gave a NoneType for"),
    ],
)
def test_a_sizer_with_a_mistake(manager: CacheManager, sizer: Any, said: str) -> None:
    """What is no size is refused, and nothing has changed."""
    cache = manager.get_cache("cache", max_bytes=100, sizer=lambda value: sizer(value) if value == "odd" else 1)
    cache.set("key", "before")
    with pytest.raises(CacheConfigError, match="option 'sizer': " + said) as raised:
        cache.set("key", "odd")
    assert (raised.value.cache, raised.value.backend, raised.value.key) == ("cache", "in_memory", "key")
    check_memory(cache._driver)
    assert cache.get("key") == "before"


def test_growing_where_nothing_may_go(manager: CacheManager) -> None:
    """A value that grows past the limit is refused if the policy lets nothing go, and the old one stays."""
    cache = manager.get_cache("cache", max_entries="none", max_bytes=100, sizer=len, eviction="none")
    cache.set("a", "x" * 60)
    cache.set("b", "x" * 30)
    with pytest.raises(CacheFullError):
        cache.set("b", "x" * 50)
    check_memory(cache._driver)
    assert cache.get_many(["a", "b"]) == {"a": "x" * 60, "b": "x" * 30}


def test_estimate(manager: CacheManager) -> None:
    """Without a sizer values count for about what they take, containers with their content."""
    cache = manager.get_cache("cache", max_bytes="1MiB")
    cache.set("key", ["x" * 1000, {"a": b"y" * 2000}])
    assert 3000 < (cache.stats.bytes or 0) < 5000
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    cache.set("cyclic", cyclic)
    with pytest.raises(CacheFullError, match=r"a value of 3,\d{3},\d{3} bytes"):
        cache.set("long", list(range(100_000, 200_000)))


@pytest.mark.parametrize(
    "options",
    [
        {"max_entries": 0},
        {"max_entries": -1},
        {"max_entries": True},
        {"max_entries": 1.5},
        {"max_bytes": "lots"},
        {"sizer": len},
        {"sizer": "os:nowhere", "max_bytes": 10},
        {"sizer": 5, "max_bytes": 10},
        {"copy": "maybe"},
        {"max_entires": 5},
        {"serializer": "json"},
        {"backend": "memory://host/path"},
        {"backend": "memory://?max_entries=many"},
    ],
    ids=repr,
)
def test_bad_options(manager: CacheManager, options: dict[str, Any]) -> None:
    """Options are checked before anything starts."""
    with pytest.raises(CacheConfigError, match="cache 'cache'"):
        manager.get_cache("cache", **options)
    assert not manager.has_cache("cache")


def test_url(manager: CacheManager) -> None:
    """A URL names backend and options."""
    cache = manager.get_cache("cache", backend="memory://?max_entries=2&eviction=fifo&ttl=5m")
    assert cache.stats.max_entries == 2
    cache.set("key", 1)
    assert cache.ttl("key") == pytest.approx(300)


def test_expired_entries_make_room_first(manager: CacheManager, clock: ManualClock) -> None:
    """Nothing alive is evicted while something is over."""
    cache = manager.get_cache("cache", max_entries=3)
    cache.set("stays", 1)
    cache.set_many({"ends:1": 1, "ends:2": 2}, ttl=5)
    clock.advance(10)
    cache.set("new", 1)
    assert sorted(cache.keys()) == ["new", "stays"]
    stats = cache.stats
    assert (stats.evictions, stats.expirations, stats.entries) == (0, 2, 2)


def test_ends_in_any_order(manager: CacheManager, clock: ManualClock) -> None:
    """Whatever lives are given and changed, an entry is purged soon after its end and not before."""
    cache = manager.get_cache("cache")
    for number in range(300):
        cache.set(f"key:{number}", number, ttl=1 + number * 7 % 50)
    for number in range(0, 300, 3):
        cache.set(f"key:{number}", number, ttl=1 + number * 11 % 70)
    for number in range(0, 300, 5):
        cache.touch(f"key:{number}", 1 + number * 13 % 90)
    for _ in range(90):
        clock.advance(1)
        driver = cache._driver
        while driver.purge(7).more:
            check_memory(driver)
        assert len(cache.keys()) <= cache.stats.entries
        assert not [node for node in driver.entries.nodes.values() if node.end < clock() - 1]
    clock.advance(2)
    driver.purge(1000)
    assert cache.stats.entries == 0


def test_markers_nobody_needs(manager: CacheManager, clock: ManualClock) -> None:
    """A cache of bounded size doesn't collect tag markers without bound."""
    cache = manager.get_cache("cache", max_entries=100)
    for number in range(5000):
        cache.set(f"key:{number}", number, tags=[f"tag:{number}"])
        if number % 500 == 0:
            cache._driver.purge(1000)
            cache._driver.purge(1000)
    cache._driver.purge(1000)
    cache._driver.purge(1000)
    assert len(cache._driver.entries.own) < 1100
    alive = cache.keys()
    assert len(alive) == 100
    cache.invalidate_tags(f"tag:{alive[0].partition(':')[2]}")
    assert len(cache.keys()) == 99


def test_values_are_let_go(manager: CacheManager) -> None:
    """The cache holds on to nothing that has left it."""

    class Value:
        pass

    cache = manager.get_cache("cache", max_entries=50)
    references = []
    for number in range(500):
        value = Value()
        references.append(weakref.ref(value))
        cache.set(f"key:{number % 200}", value, ttl=1000)
        if number % 3 == 0:
            cache.delete(f"key:{number % 100}")
    del value
    gc.collect()
    alive = sum(reference() is not None for reference in references)
    assert alive <= 50 + 32 + 50 // 4


def test_a_value_that_uses_the_cache_when_it_dies(manager: CacheManager) -> None:
    """The end of a replaced, evicted or deleted value may use the cache."""
    cache = manager.get_cache("cache", max_entries=3)
    died: list[str] = []

    class Value:
        def __init__(self, name: str) -> None:
            self.name = name

        def __del__(self) -> None:
            died.append(self.name)
            cache.get("a")
            cache.set("last", self.name)

    cache.set("a", Value("one"))
    cache.set("a", Value("two"))
    cache.delete("a")
    for number in range(5):
        cache.set(f"b{number}", Value(f"b{number}"))
    cache.clear()
    gc.collect()
    assert sorted(died) == ["b0", "b1", "b2", "b3", "b4", "one", "two"]
    check_memory(cache._driver)


@pytest.mark.parametrize("eviction", ["sieve", "lru", "fifo"])
def test_eight_threads_under_eviction(manager: CacheManager, eviction: str) -> None:
    """Under eviction by eight threads every hit is a value that was stored for its key, and every call is counted."""
    cache = manager.get_cache("cache", max_entries=200, eviction=eviction)
    rounds, threads = 4000, 8
    barrier = threading.Barrier(threads)
    wrong: list[Any] = []
    counted = [[0, 0, 0, 0] for _ in range(threads)]

    def work(number: int) -> None:
        hits, misses, sets, deletes = 0, 0, 0, 0
        barrier.wait(timeout=30)
        for step in range(rounds):
            key = f"key:{(step * 7 + number * 13) % 500}"
            kind = step % 5
            if kind < 3:
                value = cache.get(key)
                if value is None:
                    misses += 1
                else:
                    hits += 1
                    if value[0] != key:
                        wrong.append((key, value))
            elif kind == 3 or step % 40:
                cache.set(key, (key, number, step), ttl=100 if step % 2 else None)
                sets += 1
            else:
                deletes += cache.delete(key)
        counted[number] = [hits, misses, sets, deletes]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=100)
    finally:
        sys.setswitchinterval(interval)
    check_memory(cache._driver)
    stats = cache.stats
    hits, misses, sets, deletes = (sum(column) for column in zip(*counted, strict=True))
    assert wrong == []
    assert (stats.hits, stats.misses, stats.sets, stats.deletes) == (hits, misses, sets, deletes)
    assert stats.evictions > 0
    assert hits > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork(manager: CacheManager) -> None:
    """A child forked while other threads write has a whole copy that works, and changes nothing of its parent's."""
    cache = manager.get_cache("cache", max_entries=100)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            cache.set(f"key:{number % 300}", number)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if not child:
                try:
                    check_memory(cache._driver)
                    cache.set("child", 1)
                    os._exit(0 if cache.get("child") == 1 else 2)
                except BaseException:
                    os._exit(3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)
    assert cache.get("child") is None
    check_memory(cache._driver)


def test_usage_and_limits(manager: CacheManager) -> None:
    """The snapshot says how full the cache is."""
    cache = manager.get_cache("cache", max_entries=10)
    cache.set_many({"a": 1, "b": 2})
    stats = cache.stats
    assert (stats.entries, stats.max_entries, stats.bytes, stats.max_bytes) == (2, 10, None, None)


async def _use(manager: CacheManager) -> int:
    cache = manager.get_async_cache("cache")
    await cache.set("key", 1)
    return await cache.incr("key")


def test_several_event_loops(manager: CacheManager) -> None:
    """One asynchronous cache serves one event loop after another."""
    import asyncio

    assert asyncio.run(_use(manager)) == 2
    assert asyncio.run(_use(manager)) == 2
    assert manager.get_cache("cache").get("key") == 2
