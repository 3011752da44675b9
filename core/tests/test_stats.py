"""Counting (SPEC 10): exact under threads, while being read as well."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codomyrmex.cache import CacheManager, CacheStats
from codomyrmex.cache._stats import COUNTED, Counter, Recorder

THREADS, TIMES = 8, 2000


@pytest.fixture(autouse=True)
def switches_often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(*work: Callable[[], Any]) -> None:
    """Run all at the same time, to their end."""
    barrier = threading.Barrier(len(work))
    errors: list[BaseException] = []

    def run(one: Callable[[], Any]) -> None:
        try:
            barrier.wait(timeout=30)
            one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [] == errors


def test_exact_under_threads() -> None:
    """Not one step is lost, whoever reads meanwhile; a reader never sees the number go down."""
    counter = Counter()
    seen: list[list[int]] = [[], []]

    def count() -> None:
        for _ in range(TIMES):
            counter.increment()
            counter.add(2)

    def read(into: list[int]) -> None:
        into.extend(counter.value for _ in range(TIMES))

    together(*[count] * THREADS, *(lambda into=into: read(into) for into in seen))
    assert 3 * TIMES * THREADS == counter.value
    for values in seen:
        assert values == sorted(values)
        assert 0 <= values[0] <= values[-1] <= 3 * TIMES * THREADS


def test_reading_counts_nothing() -> None:
    """A look at a counter leaves it as it was."""
    counter = Counter()
    assert [0, 0, 0] == [counter.value for _ in range(3)]
    counter.increment()
    counter.add(4)
    assert [5, 5, 5] == [counter.value for _ in range(3)]


def test_a_reader_in_the_middle() -> None:
    """Steps that happen while a reader is between taking a number and noting it are counted once."""
    counter = Counter()
    inner = counter.increment
    interrupting = True

    def increment() -> int:
        nonlocal interrupting
        number = inner()
        if interrupting:
            interrupting = False
            for _ in range(10):
                inner()
        return number

    counter.increment = increment
    before = counter.value
    assert before in range(11)
    assert 10 == counter.value


def test_increment_returns_a_mark() -> None:
    """What `increment` returns is above zero, so that a driver may use it as a mark."""
    counter = Counter()
    assert counter.increment() > 0
    assert counter.value == 1


def test_operations_of_a_cache(manager: CacheManager) -> None:
    """Every read is a hit or a miss, every write a set, under threads as well."""
    cache = manager.get_cache("app")
    cache.set("there", 1)

    def work() -> None:
        for number in range(50):
            cache.get("there")
            cache.get_many(["there", "missing", "also missing"])
            cache.set(f"{threading.get_ident()}:{number}", number)
            cache.delete(f"{threading.get_ident()}:{number}")

    together(*[work] * THREADS, *[lambda: [cache.stats for _ in range(50)]] * 2)
    stats = cache.stats
    each = 50 * THREADS
    assert (2 * each, 2 * each, each + 1, each) == (stats.hits, stats.misses, stats.sets, stats.deletes)
    assert 0.5 == stats.hit_rate


def test_expired_entries_are_expirations(manager: CacheManager, clock: Any) -> None:
    """Entries that are purged count as expirations, not as evictions, whatever the driver."""
    cache = manager.get_cache("app")
    cache.set_many({str(number): number for number in range(5)}, ttl=10)
    clock.advance(11)
    pause = threading.Event()
    for _ in range(200):
        if not cache._driver.store.data:
            break
        pause.wait(0.05)
    assert {} == cache._driver.store.data
    assert (5, 0, 0) == (cache.stats.expirations, cache.stats.evictions, cache.stats.deletes)


def test_one_count_for_all_views(manager: CacheManager) -> None:
    """Namespaces and the asynchronous view count together with their cache."""
    cache = manager.get_cache("app")
    cache.namespace("ns").get("a")
    assert 1 == cache.stats.misses == cache.namespace("ns").stats.misses == manager.get_async_cache("app").stats.misses
    assert 0 == manager.get_cache("other").stats.misses
    assert {"app", "other"} == set(manager.stats())


def test_a_snapshot() -> None:
    """Statistics are a value: they don't change, can be compared, and have a rate before the first read too."""
    stats = CacheStats(hits=3, misses=1)
    assert stats == CacheStats(hits=3, misses=1)
    assert "75.00%" == f"{stats.hit_rate:.2%}"
    assert "0.00%" == f"{CacheStats().hit_rate:.2%}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.hits = 5  # type: ignore[misc]


def test_every_counter_has_its_place() -> None:
    """What is recorded appears in the snapshot under the same name."""
    recorder = Recorder()
    for number, name in enumerate(COUNTED, 1):
        getattr(recorder, name).add(number)
    stats = CacheStats(**recorder.counts())
    assert list(range(1, len(COUNTED) + 1)) == [getattr(stats, name) for name in COUNTED]
