"""What a signal's handler raises may come anywhere: Ctrl-C, the time limit of a task queue.

The call that it breaks off may have happened or not. But no lock stays taken, no load that others wait for stays
unfinished, no connection is out of step, and no value stands under another's key.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from invariants import check_memory

from codomyrmex.cache import Cache, CacheManager
from codomyrmex_cache_memory import MemoryBackend

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers that send signals here")

KEYS = 60
PATIENCE = 30.0


class Interruption(BaseException):
    """Raised by the handler; like KeyboardInterrupt it is no `Exception`."""


@contextmanager
def interrupted(times: int) -> Iterator[Iterator[None]]:
    """As many rounds, in each of which a signal comes at some moment.

    The timer runs with the processor's time that this process uses: the other one belongs to pytest-timeout.
    """

    def interrupt(*_: object) -> None:
        raise Interruption

    def rounds() -> Iterator[None]:
        for _ in range(times):
            signal.setitimer(signal.ITIMER_VIRTUAL, random.uniform(0.0005, 0.004))
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        yield rounds()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.fixture(params=["sieve", "lru", "redis", "file_based"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    """A cache on every backend; in memory with either kind of queue."""
    settings: dict[str, Any] = {"max_entries": KEYS // 2, "eviction": request.param}
    if request.param == "redis":
        settings = {"backend": "redis", "url": request.getfixturevalue("server").url, "timeout": "10s"}
    elif request.param == "file_based":
        settings = {"backend": "file_based", "path": str(tmp_path / "store"), "max_entries": KEYS // 2}
    with CacheManager(environ={}) as manager:
        yield manager.get_cache(f"signals-{request.param}", **settings)


def use(cache: Cache, number: int) -> None:
    """A little of everything; values tell what keys they belong to."""
    key, loaded = f"set {number % KEYS}", f"loaded {number % KEYS}"
    cache.set(key, key)
    assert cache.get(key, key) == key
    assert cache.get_or_set(loaded, lambda: loaded) == loaded
    cache.set(key, key, ttl=60, tags=["tag"])
    assert all(found == name for name, found in cache.get_many([key, loaded]).items())
    asked = [f"bulk {number % KEYS}", loaded]
    assert cache.get_or_set_many(asked, lambda keys: {one: one for one in keys}) == {one: one for one in asked}
    if number % 3 == 0:
        cache.delete(loaded)
    if number % 7 == 0:
        cache.invalidate_tags("tag")
    assert cache.incr("number") > 0


def test_a_signal_at_any_moment(cache: Cache) -> None:
    """After each of them another thread can use every key that was in use."""
    failures: list[BaseException] = []

    def others() -> None:
        try:
            for number in range(0, KEYS, 3):
                use(cache, number)
        except BaseException as error:
            failures.append(error)

    broken_off = 0
    with interrupted(100) as rounds:
        for _ in rounds:
            number = random.randrange(KEYS)
            try:
                while True:
                    use(cache, number)
                    number += 1
            except Interruption:
                broken_off += 1
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            other = threading.Thread(target=others, daemon=True)
            other.start()
            other.join(PATIENCE)
            assert not other.is_alive(), "a call in another thread never ends"
            assert failures == []
            if isinstance(cache._driver, MemoryBackend):
                check_memory(cache._driver)
    assert broken_off == 100
