"""The short way of a write makes no difference but speed, and gives way to the long one in time."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from file_policies import POLICIES
from file_support import cache_at, check_file, run

from codomyrmex.cache import Cache, CacheFullError
from codomyrmex.cache._record import Record
from codomyrmex.cache.backend import Field, Purged
from codomyrmex.cache.testing import ManualClock
from codomyrmex_cache_file._store import LATER


def long_way(cache: Cache[Any]) -> None:
    """Let every write of a cache go the long way."""
    store: Any = cache._driver._store
    store.at_once = lambda *_: LATER


def contents(cache: Cache[Any]) -> dict[str, Any]:
    """All that a store holds and counts."""
    opened = cache._driver._store.opened()
    tables = ("entries", "places", "order", "expiry", "policy")
    with opened.env.begin() as transaction:
        rows: dict[str, Any] = {name: dict(transaction.cursor(getattr(opened, name))) for name in tables}
    rows["counts"] = [opened.control.counts(queue) for queue in range(5)]
    rows["number"] = opened.control.last_number
    rows["marks"] = [opened.marks.of(key) for key in rows["entries"]]
    return rows


class Script:
    """Random calls of a driver, the same for each that is given to it."""

    def __init__(self, seed: int, codec: Any) -> None:
        self._source = random.Random(seed)
        self._codec = codec
        self._keys = [*(f"key{number}" for number in range(8)), "ä" * 300, "\0c:own"]

    def record(self, key: str) -> bytes:
        """Mostly of one size and with one end, pending now and then, now and then cut."""
        source = self._source
        end = source.choice((1e9 + 50, 1e9 + 50, 1e9 + 50, 1e9 + 50, 1e9 + 20, 1e9 + 99, float("inf"), float("nan")))
        made = Record(
            value=b"x" * source.choice((10, 10, 10, 10, 10, 11, 5000)),
            version=source.randbytes(8),
            fresh_until=end,
            kept_until=end,
            ttl=10.0,
            pending=source.random() < 0.1,
            lease=source.randbytes(8) if source.random() < 0.1 else None,
        )
        data = self._codec.raw(key, made)
        return data[: source.randrange(70)] if source.random() < 0.02 else data

    def step(self) -> tuple[str, tuple[Any, ...]]:
        """Name of a method, and arguments."""
        source, key = self._source, self._source.choice(self._keys)
        kind = source.choice(("put", "put", "put", "put", "get", "remove", "swap", "put_many", "advance"))
        if kind == "put":
            return kind, (key, self.record(key))
        if kind == "swap":
            new = self.record(key) if source.random() < 0.7 else None
            return kind, (key, Field.VERSION, None, new)
        if kind == "put_many":
            return kind, ({key: self.record(key) for key in source.sample(self._keys, 3)},)
        return (kind, (source.choice((0, 1, 5)),)) if kind == "advance" else (kind, (key,))


@pytest.mark.parametrize("eviction", ["sieve", "lru", "s3fifo"])
@pytest.mark.parametrize("seed", range(6))
def test_both_ways_write_the_same(tmp_path: Path, eviction: str, seed: int) -> None:
    """After every step of a long script both stores are equal, byte by byte, and have said the same about it."""
    clocks = [ManualClock(1e9), ManualClock(1e9)]
    said: list[list[Any]] = [[], []]
    with ExitStack() as stack:
        options = {"eviction": eviction, "plugins": POLICIES, "max_entries": 8}
        caches = [stack.enter_context(cache_at(tmp_path / str(n), clock=clocks[n], **options)) for n in (0, 1)]
        short, long = caches
        for cache, heard in zip(caches, said, strict=True):
            cache._driver._emit = heard.extend
            cache._driver.purge = lambda _: Purged(0, False)  # the timer comes to one of them sooner than to the other
        script, over = Script(seed, short._store.codec), [False]
        long_way(long)
        put_over = short._driver._tables.put_over
        short._driver._tables.put_over = lambda *args: over.append(put_over(*args)) or over[-1]
        for _ in range(400):
            name, arguments = script.step()
            if name == "advance":
                for clock in clocks:
                    clock.advance(*arguments)
                continue
            results = [outcome(getattr(cache._driver, name), arguments) for cache in caches]
            assert results[0] == results[1]
            assert contents(long) == contents(short), (name, arguments)
            assert said[0] == said[1]
        for count in ("evictions", "expirations"):
            assert getattr(long.stats, count) == getattr(short.stats, count)
        assert over.count(True) > 5
        check_file(short._driver)


def outcome(call: Any, arguments: Any) -> Any:
    """A result, or an error's text."""
    try:
        return call(*arguments)
    except CacheFullError as error:
        return str(error)


def test_it_is_taken(tmp_path: Path) -> None:
    """Once a store is open and marked, writes, removals and swaps need nothing but their transaction."""
    with cache_at(tmp_path) as cache:
        cache.set("begun", 1)
        store: Any = cache._driver._store
        write, store.write = store.write, None
        cache.set("a", 1)
        cache.set("a", 2)
        cache.set_many({"b": 1, "c": 1})
        assert cache.incr("a") == 3
        assert cache.delete("b") is True
        store.write = write
        check_file(cache._driver)


def test_large_values_take_the_long_way(tmp_path: Path) -> None:
    """What they need has to be looked for."""
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
        store: Any = cache._driver._store
        at_once, ways = store.at_once, []
        store.at_once = lambda *args: ways.append(at_once(*args)) or ways[-1]
        cache.set("a", 2)
        cache.set("a", "x" * 2**17)
        assert [False, True] == [way is LATER for way in ways]


CLEARS = """
# Another process replaces the data file.
with cache_at(sys.argv[1]) as cache:
    cache.set("other", 1)
    if sys.argv[2] == "compact":
        cache.delete_many([f"old{number}" for number in range(3000)])
        assert cache.compact() > 0
    else:
        opened = cache._driver._store.opened()
        cache._driver._store._gate.held(opened.descriptor, lambda: opened.set_aside("for a test"))
        cache._driver._store._drop(opened)
        cache.set("other", 2)
"""


@pytest.mark.parametrize("how", ["compact", "set aside"])
def test_replaced_by_another_process(tmp_path: Path, how: str) -> None:
    """The very next write goes into the new file."""
    with cache_at(tmp_path) as cache:
        cache.set_many({f"old{number}": "x" * 500 for number in range(3000)})
        cache.set("mine", 0)
        run(CLEARS, tmp_path, how)
        cache.set("mine", 1)
        assert run(READ, tmp_path) == ["1 1" if how == "compact" else "1 2"]
        check_file(cache._driver)


def test_who_is_killed_before_it_replaces_the_file(tmp_path: Path) -> None:
    """Others open the store again, for nothing."""
    with cache_at(tmp_path) as cache:
        cache.set("mine", 0)
        cache._driver._store.opened().control.will_be_replaced()
        cache.set("mine", 1)
        assert run(READ, tmp_path) == ["1 None"]


READ = """
with cache_at(sys.argv[1]) as cache:
    say(cache.get("mine"), cache.get("other"))
"""
