"""Laws of loads: one at a time, nothing that was invalidated meanwhile, and what a record has to keep for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from .._capabilities import Capabilities
from .._record import Field, Record
from ..errors import CacheExpiredError, CacheKeyError
from ._clock import ManualClock
from ._fixtures import Fixtures
from ._laws_atomic import together
from ._views import close_loop

PATIENCE = 30.0
"""Seconds until a call counts as hanging."""

CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda cache: cache.set("key", "newer"),
    "set_many": lambda cache: cache.set_many({"key": "newer"}),
    "add": lambda cache: cache.add("key", "newer"),
    "incr": lambda cache: cache.incr("key"),
    "pop": lambda cache: cache.pop("key"),
    "delete": lambda cache: cache.delete("key"),
    "delete_many": lambda cache: cache.delete_many(["key"]),
    "delete_pattern": lambda cache: cache.delete_pattern("k*"),
    "expire": lambda cache: cache.expire("key"),
    "invalidate_tags": lambda cache: cache.invalidate_tags("tag"),
    "clear": lambda cache: cache.clear(),
}
_LEFT = {"set": "newer", "set_many": "newer", "add": "newer", "incr": 1}


class Load:
    """A load of ``key`` in a thread of its own, whose factory waits until it is told to go on.

    Args:
        cache: In either view.
        value: What the factory gives.
        options: Of `get_or_set`.
    """

    def __init__(self, cache: Any, value: str, **options: Any) -> None:
        self._begun = threading.Event()
        self._go = threading.Event()
        self._value = value
        self._result: list[Any] = []
        self._thread = threading.Thread(target=self._run, args=(cache, options), daemon=True)
        self._thread.start()
        assert self._begun.wait(PATIENCE), "the factory is not called"

    def _run(self, cache: Any, options: dict[str, Any]) -> None:
        try:
            self._result.append(cache.get_or_set("key", self._compute, **options))
        finally:
            close_loop()

    def _compute(self) -> str:
        self._begun.set()
        assert self._go.wait(PATIENCE)
        return self._value

    def end(self) -> Any:
        """What its caller gets; None for an error."""
        self._go.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "a load doesn't end"
        return self._result[0] if self._result else None


@contextmanager
def loading(cache: Any, value: str = "loaded", **options: Any) -> Generator[Load]:
    """A `Load`, ended whatever happens."""
    load = Load(cache, value, **options)
    try:
        yield load
    finally:
        load.end()


class LoadLaws(Fixtures):
    """Computing values."""

    def test_one_load_for_all(self, cache: Any) -> None:
        """Of many callers who miss one key, one computes it, and all get the result."""
        missed = cache.stats.misses
        calls: list[int] = []

        def work(number: int) -> Any:
            def compute() -> int:
                calls.append(number)
                while cache.stats.misses < missed + 8:
                    threading.Event().wait(0.001)
                threading.Event().wait(0.05)  # whoever would lead a second load has begun it by then
                return number

            return cache.get_or_set("key", compute)

        results = together(work)
        assert len(calls) == 1, f"the factory was called {len(calls)} times"
        assert results == calls * 8
        assert cache.get("key") == calls[0]

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("before", ["absent", "stale"])
    def test_a_change_during_a_load_wins(self, cache: Any, clock: ManualClock, change: str, before: str) -> None:
        """Its callers get what the load returns, and nobody is ever served it afterwards."""
        if before == "stale":
            cache.set("key", "old", ttl=10, stale_for=1000, tags=["tag"])
            clock.advance(11)
        with loading(cache, tags=["tag"], stale_for=1000) as load:
            CHANGES[change](cache)
            assert load.end() == "loaded"
        assert cache.get("key") == _LEFT.get(change)
        assert cache.get_or_set("key", lambda: "fresh", tags=["tag"]) == _LEFT.get(change, "fresh")
        assert cache.get("key") == _LEFT.get(change, "fresh"), "after all that a load must store again"

    @pytest.mark.parametrize("change", sorted(set(CHANGES) - set(_LEFT)))
    def test_who_comes_after_a_change_loads_anew(self, cache: Any, change: str) -> None:
        """A caller who arrives after an invalidation doesn't join the older load, which then stores nothing."""
        with loading(cache, tags=["tag"]) as load:
            CHANGES[change](cache)
            assert cache.get_or_set("key", lambda: "newer", tags=["tag"]) == "newer"
            assert load.end() == "loaded"
        assert cache.get("key") == "newer"

    def test_a_tag_chosen_late(self, cache: Any) -> None:
        """A tag that the factory adds counts from the beginning of the load."""

        def compute(context: Any) -> str:
            context.tags.add("late")
            elsewhere(lambda: invalidate and cache.invalidate_tags("late"))
            return "loaded"

        for invalidate in (False, True):
            assert cache.get_or_set("key", compute) == "loaded"
            assert cache.get("key") == (None if invalidate else "loaded")
            cache.invalidate_tags("late")
            assert cache.get("key") is None

    def test_a_load_that_hangs_is_taken_over(self, cache: Any, clock: ManualClock) -> None:
        """Once its lease is over somebody else loads, and then it stores nothing any more."""
        with loading(cache, "too late", lease=10) as load:
            clock.advance(11)
            assert cache.get_or_set("key", lambda: "second") == "second"
            assert load.end() == "too late"
        assert cache.get("key") == "second"

    def test_a_load_that_takes_longer_than_its_lease(self, cache: Any, clock: ManualClock) -> None:
        """It still stores if nobody has taken over."""
        with loading(cache, lease=10) as load:
            clock.advance(50)
            assert load.end() == "loaded"
        assert cache.get("key") == "loaded"

    def test_what_a_load_stores(self, cache: Any, driver: Any, clock: ManualClock) -> None:
        """Value, lifetime, tags, the origin's token and the cost; no lease."""
        seen: list[tuple[str, Any]] = []

        def compute(context: Any) -> Any:
            seen.append((context.token, context.value))
            if context.has_value:
                return context.not_modified()
            context.token = "ünï-etag"
            return "value"

        for _ in range(3):
            assert cache.get_or_set("key", compute, 10, tags=["tag"], stale_for=100) == "value"
            assert cache.get("key") == "value"
            assert cache.ttl("key") == pytest.approx(10, abs=0.01)
            clock.advance(11)
        assert seen == [("", None), ("ünï-etag", "value"), ("ünï-etag", "value")]
        storage = cache._store.keys.prefix + "key"
        record = cache._store.codec.decode(storage, driver.get(storage))
        assert (record.lease, record.failed, record.extended, record.pending) == (None, False, False, False)
        assert record.cost > 0
        assert [tag for tag, _ in record.tags] == ["tag"]
        assert record.token.decode() == "ünï-etag"

    def test_a_failed_load_is_remembered(self, cache: Any, clock: ManualClock) -> None:
        """The kept value is served in its place, and nobody tries again until `retry_after` is over."""
        cache.set("key", "kept", ttl=10, stale_for=1000)
        clock.advance(11)
        calls: list[int] = []

        def compute() -> str:
            calls.append(1)
            raise ZeroDivisionError

        for seconds, expected in ((0, 1), (5, 1), (6, 2)):
            clock.advance(seconds)
            assert cache.get_or_set("key", compute, retry_after=10) == "kept"
            assert len(calls) == expected
        assert cache.get("key") is None
        clock.advance(20)
        assert cache.get_or_set("key", lambda: "new") == "new"
        clock.advance(1)
        assert cache.get("key") == "new"

    def test_a_failed_load_leaves_nothing(self, cache: Any) -> None:
        """Without a kept value its error comes out, and the next caller loads."""
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                cache.get_or_set("key", lambda: 1 // 0)
            assert cache.explain("key").loading is False
        assert cache.get_or_set("key", lambda: "value") == "value"
        assert cache.get("key") == "value"

    def test_a_lease_on_a_value_without_fallback(self, cache: Any, driver: Any, clock: ManualClock) -> None:
        """It keeps the record longer than the value: past its ttl that is neither served nor a fallback."""
        storage, lease = self.extend(cache, driver, clock)
        assert cache.get("key") == "old"
        assert cache.ttl("key") == pytest.approx(1, abs=0.01)
        clock.advance(2)
        assert cache.get("key") is None
        assert cache.get_many(["key"]) == {}
        assert cache.exists("key") is False
        assert cache.ttl("key") is None
        assert cache.keys() == []
        with pytest.raises(CacheKeyError) as caught:
            cache["key"]
        assert not isinstance(caught.value, CacheExpiredError), "there is nothing left of it"
        assert cache.touch("key", 100) is False
        driver.purge(1000)
        assert cache.explain("key").loading is True
        new = cache._store.codec.encode(storage, Record("loaded", cache._store.token()))
        assert driver.swap(storage, Field.LEASE, lease, new, False) is True
        assert cache.get("key") == "loaded"

    def test_a_lease_that_is_over_leaves_no_value(self, cache: Any, driver: Any, clock: ManualClock) -> None:
        """A load after it is told of no value and gets none in place of its error."""
        self.extend(cache, driver, clock)
        clock.advance(31)
        seen: list[bool] = []

        def compute(context: Any) -> Any:
            seen.append(context.has_value)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", compute)
        assert seen == [False]
        assert cache.add("key", "added") is True

    def test_many_in_one_load(self, cache: Any) -> None:
        """One call for all that is missing; a change of one key during it is a change of that key."""
        cache.set("there", 0)
        asked: list[list[str]] = []

        def compute(keys: Any) -> dict[str, int]:
            asked.append(sorted(keys))
            elsewhere(lambda: cache.delete("b"))
            return {key: ord(key) for key in keys}

        found = cache.get_or_set_many(["there", "a", "b", "c"], compute)
        assert asked == [["a", "b", "c"]]
        assert found == {"there": 0, "a": 97, "b": 98, "c": 99}
        assert cache.get_many(["there", "a", "b", "c"]) == {"there": 0, "a": 97, "c": 99}

    def test_users_of_one_store_share_loads(
        self, cache_settings: Mapping[str, Any], cache: Any, capabilities: Capabilities, clock: ManualClock, view: str
    ) -> None:
        """Another user waits for the load, gets what it stores, takes over its lease, and can invalidate it."""
        if not capabilities.shared:
            pytest.skip("nobody else can reach the store")
        for manager in self.managers(cache_settings, clock):
            another = self.in_view(manager, "kit", view)
            with loading(cache) as load:
                answers: list[Any] = []
                waiter = threading.Thread(target=self.ask, args=(another, answers), daemon=True)
                waiter.start()
                waiter.join(0.1)
                assert answers == [], "somebody else's load was not waited for"
                assert load.end() == "loaded"
                waiter.join(PATIENCE)
                assert answers == ["loaded"]
            for change in sorted(set(CHANGES) - set(_LEFT)):
                cache.delete("key")
                with loading(cache, tags=["tag"]) as load:
                    CHANGES[change](another)
                    assert load.end() == "loaded"
                assert [cache.get("key"), another.get("key")] == [None, None], change
            with loading(cache, "too late", lease=10) as load:
                clock.advance(11)
                assert another.get_or_set("key", lambda: "second") == "second"
                assert load.end() == "too late"
            assert cache.get("key") == "second"

    @staticmethod
    def ask(cache: Any, answers: list[Any]) -> None:
        """Load ``key`` in a thread."""
        try:
            answers.append(cache.get_or_set("key", lambda: "a second load"))
        finally:
            close_loop()

    @staticmethod
    def extend(cache: Any, driver: Any, clock: ManualClock) -> tuple[str, bytes]:
        """Leave a value that has one more second and no fallback, with a lease of thirty."""
        store, lease = cache._store, b"LEASE-01"
        storage = store.keys.prefix + "key"
        cache.set("key", "old", ttl=10)
        clock.advance(9)
        record = store.codec.decode(storage, driver.get(storage))
        now = clock()
        leased = replace(
            record, version=store.token(), lease=lease, lease_until=now + 30, kept_until=now + 300, extended=True
        )
        header = store.codec.header(storage, leased)
        assert driver.swap(storage, Field.VERSION, record.version, header, True) is True
        return storage, lease


def elsewhere(work: Callable[[], Any]) -> None:
    """Do ``work`` in another thread, which a factory may wait for; an event loop can't run inside another."""

    def run() -> None:
        try:
            work()
        finally:
            close_loop()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
