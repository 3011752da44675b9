"""Limits: entries, bytes, what goes when they are reached, and that the tables agree afterwards."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_policies import POLICIES
from file_support import Child, allocated, cache_at, check_file, directory, run

from codomyrmex.cache import CacheFullError, CacheManager
from codomyrmex.cache.eviction import Removal
from codomyrmex.cache.testing import ManualClock

CAPACITY = 20
MEBIBYTE = 2**20


def test_entries_are_exact_among_threads(tmp_path: Path) -> None:
    """No write of any thread takes the store above ``max_entries``, and it stays full."""
    with cache_at(tmp_path, max_entries=CAPACITY) as cache:
        above: list[int] = []

        def write(number: int) -> None:
            for step in range(150):
                cache.set(f"{number}:{step}", step)
                entries = cache.stats.entries or 0
                if entries > CAPACITY:
                    above.append(entries)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert above == []
        assert cache.stats.entries == CAPACITY == len(cache.keys())
        assert cache.stats.evictions == 4 * 150 - CAPACITY
        check_file(cache._driver)


def test_a_lower_limit_is_reached(tmp_path: Path) -> None:
    """A store that was filled under a higher limit comes down to the lower one."""
    with cache_at(tmp_path, max_entries=200) as cache:
        for number in range(200):
            cache.set(str(number), number)
    with cache_at(tmp_path, max_entries=CAPACITY) as cache:
        for number in range(60):
            cache.set(f"new{number}", number)
        assert cache.stats.entries == CAPACITY
        check_file(cache._driver)


SIZES = (100, 100, 1000, 1000, 3000, 10_000, 60_000, 256_000)


@pytest.mark.parametrize("eviction", ["sieve", "lru", "fifo", "s3fifo"])
def test_churn_of_all_sizes(tmp_path: Path, eviction: str) -> None:
    """Values of all sizes, many times the limit: the file keeps to it, what is stored is right, deletes never fail."""
    limit = 6 * MEBIBYTE
    source = random.Random(1)
    stored: dict[str, str] = {}
    with cache_at(tmp_path, max_bytes=limit, eviction=eviction, plugins=POLICIES) as cache:
        for step in range(1200):
            key, size = f"key{source.randrange(2000)}", source.choice(SIZES)
            value = f"{step}:" + "x" * size
            cache.set(key, value)
            stored[key] = value
            if step % 20 == 0:
                assert allocated(directory(tmp_path)) <= limit
                assert value == cache.get(key)
            if step % 5 == 0:
                gone = f"key{source.randrange(2000)}"
                cache.delete(gone)
                stored.pop(gone, None)
        assert (cache.stats.evictions or 0) > 100
        live = cache.keys()
        assert len(live) > 20
        assert cache.get_many(live) == {key: stored[key] for key in live}
        assert allocated(directory(tmp_path)) <= limit
        size = sum(len(stored[key]) for key in live)
        assert allocated(directory(tmp_path)) <= 2 * size
        check_file(cache._driver)
    with cache_at(tmp_path, max_bytes=limit, eviction=eviction, plugins=POLICIES) as cache:
        assert sorted(live) == sorted(cache.keys())
        check_file(cache._driver)


def test_churn_of_small_values(tmp_path: Path) -> None:
    """The same for many small ones, with ends: no row of any table is left behind, and none is missing."""
    clock = ManualClock()
    source = random.Random(2)
    with cache_at(tmp_path, clock=clock, max_bytes=2 * MEBIBYTE) as cache:
        for step in range(60):
            cache.set_many({f"{step}:{number}": "x" * 300 for number in range(100)}, ttl=source.choice((5, 50, None)))
            clock.advance(1)
            cache.delete_many([f"{source.randrange(step + 1)}:{number}" for number in range(20)])
        assert allocated(directory(tmp_path)) <= 2 * MEBIBYTE
        check_file(cache._driver)
        cache.clear()
        check_file(cache._driver)
        assert cache.stats.entries == 0


READER = """
# A reader that stays in the middle of a read.
with cache_at(sys.argv[1], max_bytes=int(sys.argv[2])) as cache:
    cache.get("0")
    def stay(transaction, opened):
        transaction.get(b"0", db=opened.entries)
        say("reading")
        wait_for("end")
    cache._driver._store.read(stay)
"""


MISSES = """
# Another process sees at once what was struck out.
with cache_at(sys.argv[1], max_bytes=int(sys.argv[2])) as cache:
    say(cache.get_many(sys.argv[3].split(",")))
"""


def test_deletes_at_the_limit(tmp_path: Path) -> None:
    """Single deletes never fail on a full store, and what is deleted makes room."""
    with cache_at(tmp_path, max_bytes=2 * MEBIBYTE) as cache:
        for number in range(3000):
            cache.set(str(number), "x" * 1000)
        keys = cache.keys()
        for key in keys:
            assert cache.delete(key) is True
        assert cache.keys() == []
        check_file(cache._driver)


def test_deletes_at_the_limit_with_a_stuck_reader(tmp_path: Path) -> None:
    """They don't fail either while a reader in another process keeps all pages from being used again."""
    limit = 2 * MEBIBYTE
    with cache_at(tmp_path, max_bytes=limit) as cache:
        for number in range(3000):
            cache.set(str(number), "x" * 1000)
        reader = Child(READER, tmp_path, limit)
        assert reader.line() == "reading"
        refused = 0
        for number in range(300):
            try:
                cache.set(f"more{number}", "x" * 1000)
            except CacheFullError:
                refused += 1
        assert refused > 0
        keys = cache.keys()
        assert len(keys) > 300
        deleted = 0
        for key in keys[:400]:
            deleted += cache.delete(key)
            assert cache.get(key) is None
        assert deleted == len(keys[:400])
        assert cache.stats.unreadable > 0  # the later ones were struck out where they stand
        assert run(MISSES, tmp_path, limit, ",".join(keys[:400])) == ["{}"]
        cache.clear()
        assert cache.keys() == []
        assert allocated(directory(tmp_path)) <= limit
        reader.tell("end")
        reader.end()
        cache.set("after", 1)
        assert cache.get("after") == 1
        check_file(cache._driver)


SCANS = """
with cache_at(sys.argv[1], max_bytes=int(sys.argv[2])) as cache:
    say("ready")
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        cache.keys()
        cache.get_many([str(number) for number in range(500)])
"""


def test_writes_at_the_limit_among_readers(tmp_path: Path) -> None:
    """Readers who read a lot make no write fail at the limit."""
    limit = 2 * MEBIBYTE
    with cache_at(tmp_path, max_bytes=limit) as cache:
        for number in range(3000):
            cache.set(str(number), "x" * 1000)
        number = 0
        with Child(SCANS, tmp_path, limit) as one, Child(SCANS, tmp_path, limit) as two:
            for reader in (one, two):
                assert reader.line() == "ready"
            while one.process.poll() is None or two.process.poll() is None:
                cache.set(str(number), "x" * (1000, 10_000)[number % 2])
                cache.delete(str(number - 50))
                number += 1
            one.end()
            two.end()
        assert number > 0
        check_file(cache._driver)


def test_killed_reader_is_forgotten(tmp_path: Path) -> None:
    """A reader that was killed in the middle of a read keeps nothing."""
    limit = 2 * MEBIBYTE
    with cache_at(tmp_path, max_bytes=limit) as cache, Child(READER, tmp_path, limit) as reader:
        cache.set("0", 1)
        assert reader.line() == "reading"
        reader.kill()
        reader.process.wait()
        for number in range(3000):
            cache.set(str(number), "x" * 1000)
        assert cache.get("2999") == "x" * 1000
        check_file(cache._driver)


def test_value_larger_than_the_store(tmp_path: Path) -> None:
    """It is refused, and nothing is evicted for it."""
    with cache_at(tmp_path, max_bytes=2 * MEBIBYTE) as cache:
        for number in range(100):
            cache.set(str(number), "x" * 1000)
        for size in (600_000, 2 * MEBIBYTE, 5 * MEBIBYTE):
            with pytest.raises(CacheFullError):
                cache.set("large", "x" * size)
            with pytest.raises(CacheFullError):
                cache.add("large", "x" * size)
        assert len(cache.keys()) == 100
        assert cache.stats.evictions == 0
        cache.set("quarter", "x" * 500_000)
        assert cache.get("quarter") == "x" * 500_000
        check_file(cache._driver)


def fits(cache: Any, key: str) -> bool:
    try:
        return bool(cache.set(key, "x" * 1000))
    except CacheFullError:
        return False


def test_policy_none(tmp_path: Path) -> None:
    """The policy ``none`` refuses what doesn't fit, by number and by bytes, changes nothing, and takes it later."""
    with cache_at(tmp_path / "entries", max_entries=2, eviction="none") as cache:
        cache.set_many({"a": 1, "b": 2})
        with pytest.raises(CacheFullError):
            cache.set("c", 3)
        with pytest.raises(CacheFullError):
            cache.add("c", 3)
        cache.set("a", 4)
        assert cache.get_many(["a", "b", "c"]) == {"a": 4, "b": 2}
        cache.delete("b")
        cache.set("c", 3)
        assert sorted(cache.keys()) == ["a", "c"]
        check_file(cache._driver)
    with cache_at(tmp_path / "bytes", max_bytes=2 * MEBIBYTE, eviction="none") as cache:
        stored = 0
        while fits(cache, str(stored)):
            stored += 1
        assert stored > 500
        assert len(cache.keys()) == stored
        for number in range(100):
            assert cache.delete(str(number)) is True
        assert fits(cache, "again")
        assert len(cache.keys()) == stored - 99
        check_file(cache._driver)


def requests(seed: int, number: int = 1500) -> Iterator[str]:
    """Keys with a few favourites, some loops and some noise."""
    source = random.Random(seed)
    for step in range(number):
        kind = source.random()
        if kind < 0.6:
            yield f"hot{int(source.paretovariate(0.8)) % 60}"
        elif kind < 0.85:
            yield f"loop{step % 45}"
        else:
            yield f"cold{step}"


def ask(cache: Any, keys: list[str]) -> list[bool]:
    """Ask for every key and store it on a miss; whether each was a hit."""
    hits = []
    for key in keys:
        hits.append(cache.get(key) is not None)
        if not hits[-1]:
            cache.set(key, 1)
    return hits


def in_memory(eviction: str, keys: list[str]) -> list[bool]:
    """The same in memory, whose order is tested against the papers."""
    with CacheManager(environ={}) as manager:
        for name, plugin in POLICIES.items():
            manager.register(plugin, name)
        return ask(manager.get_cache("cache", max_entries=CAPACITY, eviction=eviction), keys)


@pytest.mark.parametrize("eviction", ["sieve", "fifo", "s3fifo", "counting"])
@pytest.mark.parametrize("seed", range(2))
def test_same_order_as_in_memory(tmp_path: Path, eviction: str, seed: int) -> None:
    """Hit for hit and miss for miss what the same policy does in memory, also if the store is opened anew meanwhile."""
    keys = list(requests(seed))
    hits = []
    for part in range(3):
        with cache_at(tmp_path, max_entries=CAPACITY, eviction=eviction, plugins=POLICIES) as cache:
            hits += ask(cache, keys[part * 500 : (part + 1) * 500])
            check_file(cache._driver)
    assert in_memory(eviction, keys) == hits


def test_lru_is_nearly_that_of_memory(tmp_path: Path) -> None:
    """LRU knows the last use only to the next write: hits differ little from those of the exact order."""
    keys = list(requests(3))
    with cache_at(tmp_path, max_entries=CAPACITY, eviction="lru") as cache:
        hits = ask(cache, keys)
        check_file(cache._driver)
    assert abs(sum(hits) - sum(in_memory("lru", keys))) <= len(keys) // 50


def test_state_of_a_policy_is_kept(tmp_path: Path) -> None:
    """What a policy remembers survives, and is shared by all processes."""
    for opening in (1, 2):
        with cache_at(tmp_path, max_entries=5, eviction="counting", plugins=POLICIES) as cache:
            for number in range(50):
                cache.set(f"{opening}:{number}", number)
            opened = cache._driver._store.opened()
            with opened.env.begin() as transaction:
                assert transaction.get(b"state", db=opened.policy) == b'{"gone": %d}' % (opening * 50 - 5)


@pytest.mark.parametrize("before", ["sieve", "lru", "s3fifo"])
@pytest.mark.parametrize("after", ["sieve", "lru", "s3fifo"])
def test_another_policy(tmp_path: Path, before: str, after: str) -> None:
    """A store that is opened with another policy keeps its entries, and evicts by the new one."""
    with cache_at(tmp_path, max_entries=CAPACITY, eviction=before, plugins=POLICIES) as cache:
        ask(cache, list(requests(1))[:300])
        cache.set("k" * 800, "long")
        held = {key: cache.get(key) for key in cache.keys("")}
    with cache_at(tmp_path, max_entries=CAPACITY, eviction=after, plugins=POLICIES) as cache:
        assert held == cache.get_many(held)
        check_file(cache._driver)
        ask(cache, list(requests(2))[:300])
        assert cache.stats.entries == CAPACITY
        check_file(cache._driver)


def test_two_policies_at_once(tmp_path: Path) -> None:
    """A process that comes with another policy while the store is in use is told so."""
    code = """
with cache_at(sys.argv[1], eviction="lru") as cache:
    try:
        cache.get("a")
    except CacheConfigError as error:
        say(error)
"""
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
        assert "another eviction policy" in run(code, tmp_path)[0]


class Listener:
    """Notes what was removed, and why."""

    def __init__(self) -> None:
        self.seen: list[Removal] = []

    def install(self) -> Any:
        from codomyrmex.cache import hookimpl

        seen = self.seen

        class Plugin:
            @hookimpl
            def on_evict(self, event: Removal) -> None:
                seen.append(event)

        return Plugin()


def test_events_and_counters(tmp_path: Path) -> None:
    """Each removal is reported with its cause, once, in the process that did it, and counted exactly."""
    clock, listener = ManualClock(), Listener()
    table = {"backend": "file_based", "path": str(tmp_path), "serializer": "json", "max_entries": 3}
    config = {"caches": {"c": table}, "plugins": {"enable": ["listener"]}}
    with CacheManager(config, clock=clock, environ={}) as manager:
        manager.register(listener.install(), "listener")
        cache = manager.get_cache("c")
        for key in "abcd":  # a goes
            cache.set(key, key)
        cache.set("d", 2)
        cache.delete("b")
        cache.set("e", 1, ttl=10)
        clock.advance(11)
        cache._driver.purge(100)
        cache.set("f", 1, ttl=10)
        clock.advance(11)
        cache.set("g", 1)  # f is over, and goes before one that is alive
        cache.set("h", 1)
        cache.clear()
        causes = Counter((event.key, event.cause.value) for event in listener.seen)
        assert causes == Counter(
            [
                ("a", "capacity"),
                ("d", "replaced"),
                ("b", "deleted"),
                ("e", "expired"),
                ("f", "expired"),
                *((key, "capacity") for key in ("c",)),
                *((key, "cleared") for key in ("d", "g", "h")),
            ]
        )
        assert cache.stats.evictions == 2
        assert cache.stats.expirations == 1  # the other one is counted by the timer, that is who calls purge
        check_file(cache._driver)


def test_expired_entries_leave_nothing(tmp_path: Path) -> None:
    """Expired entries, and all rows that belonged to them, go although nobody reads."""
    clock = ManualClock()
    with cache_at(tmp_path, clock=clock) as cache:
        for number in range(300):
            cache.set(f"{number}" * 200, number, ttl=1 + number % 100, stale_for=None if number % 2 else 10)
        for number in range(0, 300, 3):
            cache.touch(f"{number}" * 200, 500)
        for number in range(1, 300, 3):
            cache.touch(f"{number}" * 200, 1)
        check_file(cache._driver)
        removed = 0
        for _ in range(70):
            clock.advance(10)
            while True:
                purged = cache._driver.purge(37)
                removed += purged.removed
                if not purged.more:
                    break
            check_file(cache._driver)
        assert removed == 300
        opened = cache._driver._store.opened()
        with opened.env.begin() as transaction:
            tables = (opened.entries, opened.places, opened.order, opened.expiry)
            assert [0, 0, 0, 0] == [transaction.stat(table)["entries"] for table in tables]


def test_smaller_and_larger_limits(tmp_path: Path) -> None:
    """A store may be opened with other limits than it was made with, also while another process has it open."""
    code = """
with cache_at(sys.argv[1], max_bytes=sys.argv[2]) as cache:
    for number in range(2000):
        cache.set(f"theirs{number}", "x" * 1000)
    say(cache.get("theirs1999") == "x" * 1000, cache.get("mine0") is not None)
    check_file(cache._driver)
"""
    with cache_at(tmp_path, max_bytes="8MiB") as cache:
        cache.set_many({f"mine{number}": "x" * 1000 for number in range(100)})
        assert run(code, tmp_path, "2MiB")[0] == "True True"
        assert run(code, tmp_path, "32MiB")[0] == "True True"
        assert cache.get("theirs1999") == "x" * 1000
        for number in range(2000):
            cache.set(f"mine{number}", "x" * 1000)
        assert cache.get("mine1999") == "x" * 1000
    with cache_at(tmp_path, max_bytes="3MiB") as cache:
        for number in range(3000):
            cache.set(f"mine{number}", "y" * 1000)
        assert cache.get("mine2999") == "y" * 1000
