"""Threads that write without a pause: all of them get their turn."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import CacheConnectionError, CacheManager
from codomyrmex_cache_file import _gate

SECONDS = 1.0


@pytest.fixture
def manager(tmp_path: Path) -> Any:
    """A manager with the cache ``files``."""
    settings = {"backend": "file_based", "path": str(tmp_path), "serializer": "json", "timeout": SECONDS}
    with CacheManager({"caches": {"files": settings}}, environ={}) as manager:
        yield manager


def written(cache: Any, threads: int, seconds: float) -> tuple[list[int], list[BaseException], float]:
    """How much each thread has written, what was raised, and the longest that a write took, in seconds."""
    counts, errors, longest = [0] * threads, [], [0.0] * threads
    stop = time.monotonic() + seconds

    def work(number: int) -> None:
        try:
            while (begin := time.monotonic()) < stop:
                cache.set(f"key:{number}", counts[number])
                counts[number] += 1
                longest[number] = max(longest[number], time.monotonic() - begin)
        except CacheConnectionError as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return counts, errors, max(longest)


@pytest.mark.parametrize("threads", [2, 8, 32])
def test_nobody_starves(manager: CacheManager, threads: int) -> None:
    """None waits for the timeout, and none writes much less than the others."""
    counts, errors, longest = written(manager.get_cache("files"), threads, 2 * SECONDS)
    assert errors == []
    assert min(counts) > sum(counts) / threads / 10
    assert longest < SECONDS


def test_it_can_fail(manager: CacheManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a turn for those who have waited, somebody does starve."""
    monkeypatch.setattr(_gate, "_PATIENCE", 1e9)
    counts, errors, longest = written(manager.get_cache("files"), 8, 2 * SECONDS)
    assert errors or longest > SECONDS / 2 or min(counts) < sum(counts) / 8 / 10


def test_a_late_one(manager: CacheManager) -> None:
    """Who waits in vain is told so, and leaves no place in the queue behind."""
    cache = manager.get_cache("files")
    cache.set("key", 1)
    gate = cache._driver._store._gate
    gate._timeout = 0.1
    taken, done = threading.Event(), threading.Event()

    def stand_still() -> None:
        with gate._lock:
            taken.set()
            done.wait(30)

    holder = threading.Thread(target=stand_still)
    holder.start()
    taken.wait(30)
    with pytest.raises(CacheConnectionError, match="did not finish within"):
        cache.set("key", 2)
    assert gate._waiting == []
    done.set()
    holder.join()
    assert cache.set("key", 3)


def test_a_finalizer_in_a_thread_that_waits(manager: CacheManager) -> None:
    """What runs in the middle of a wait goes before the thread that it runs in."""
    cache = manager.get_cache("files")
    cache.set("key", 1)
    gate = cache._driver._store._gate
    outer = _gate._Waiter()
    gate._waiting.append(outer)
    try:
        assert cache.set("key", 2)
    finally:
        gate._waiting.remove(outer)
    assert cache.get("key") == 2
