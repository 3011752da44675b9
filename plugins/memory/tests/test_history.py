"""Under threads and tasks, every hit is a value that could have been there at that moment."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
import time
from typing import Any

import pytest
from history import Change, History
from invariants import check_memory

from codomyrmex.cache import CacheManager

THREADS = 8


def run(cache: Any, view: Any, seconds: float, seed: int) -> History:
    """Random calls from several threads, half of them through the asynchronous view."""
    ticks = itertools.count()
    histories = [History() for _ in range(THREADS)]
    barrier = threading.Barrier(THREADS)
    stop = time.monotonic() + seconds

    def work(number: int) -> None:
        source, mine = random.Random(seed * THREADS + number), histories[number]
        values = itertools.count()
        runner = asyncio.Runner()

        async def awaited(call: Any) -> Any:
            return await call

        def do(name: str, *args: Any, **kwargs: Any) -> Any:
            if number % 2:
                return runner.run(awaited(getattr(view, name)(*args, **kwargs)))
            return getattr(cache, name)(*args, **kwargs)

        barrier.wait(timeout=30)
        while time.monotonic() < stop:
            for _ in range(50):
                key = f"key:{source.randrange(12)}"
                kind = source.random()
                value = (number, next(values))
                begun = next(ticks)
                if kind < 0.55:
                    seen = do("get", key)
                    mine.reads.append((key, seen, begun, next(ticks)))
                    continue
                if kind < 0.75:
                    do("set", key, value)
                elif kind < 0.82:
                    do("set", key, value, ttl=100, tags=["tag"])
                elif kind < 0.88:
                    if not do("add", key, value):
                        continue
                elif kind < 0.93:
                    do("delete", key)
                    value = None
                elif kind < 0.97:
                    seen = do("pop", key)
                    ended = next(ticks)
                    mine.reads.append((key, seen, begun, ended))
                    mine.changes[key].append(Change(None, begun, ended))
                    continue
                else:
                    do("clear")
                    ended = next(ticks)
                    for cleared in range(12):
                        mine.changes[f"key:{cleared}"].append(Change(None, begun, ended))
                    continue
                mine.changes[key].append(Change(value, begun, next(ticks)))
        runner.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=seconds + 60)
    finally:
        sys.setswitchinterval(interval)
    whole = History()
    for history in histories:
        whole.reads += history.reads
        for key, changes in history.changes.items():
            whole.changes[key] += changes
    return whole


def check(options: dict[str, Any], seconds: float, seed: int) -> None:
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("cache", **options)
        history = run(cache, manager.get_async_cache("cache"), seconds, seed)
        check_memory(cache._driver)
    hits = sum(read[1] is not None for read in history.reads)
    assert history.impossible() == []
    assert hits > 100


@pytest.mark.parametrize("options", [{}, {"max_entries": 6, "eviction": "lru"}], ids=["roomy", "evicting"])
def test_every_hit_was_possible(options: dict[str, Any]) -> None:
    """Two seconds of it."""
    check(options, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("eviction", ["sieve", "lru", "fifo"])
def test_every_hit_was_possible_for_a_minute(eviction: str) -> None:
    """A minute of it."""
    check({"max_entries": 8, "eviction": eviction}, 60, 2)


def test_the_checker_can_fail() -> None:
    """It finds a value that came back after it was removed, one from the future, and one that nobody wrote."""
    history = History()
    history.changes["key"] += [Change("old", 0, 1), Change(None, 2, 3), Change("new", 6, 9)]
    history.reads += [("key", "old", 1, 2), ("key", "old", 2, 4), ("key", "new", 5, 7), ("key", None, 1, 2)]
    assert history.impossible() == []
    wrong = [("key", "old", 4, 5), ("key", "new", 4, 5), ("key", "never", 4, 5), ("other", "old", 4, 5)]
    history.reads += wrong
    assert history.impossible() == wrong
