"""One load at a time, and an invalidation wins: the mistakes that others made, each as a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from loading import Call, Room, Source, until, waiting

from codomyrmex.cache import CacheConfigError, CacheKeyError, CacheManager
from codomyrmex.cache.testing import ManualClock

CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda cache: cache.set("key", "newer"),
    "set_many": lambda cache: cache.set_many({"key": "newer"}),
    "add": lambda cache: cache.add("key", "newer"),
    "incr": lambda cache: cache.incr("key"),
    "pop": lambda cache: cache.pop("key"),
    "delete": lambda cache: cache.delete("key"),
    "delete_many": lambda cache: cache.delete_many(["key"]),
    "delete_pattern": lambda cache: cache.delete_pattern("k?y"),
    "expire": lambda cache: cache.expire("key"),
    "invalidate_tags": lambda cache: cache.invalidate_tags("tag"),
    "clear": lambda cache: cache.clear(),
}
WRITES = ("set", "set_many", "add", "incr")


def joined(cache: Any, count: int, key: str = "key") -> None:
    """Wait until so many callers wait for somebody else's load of ``key``."""
    until(lambda: waiting(cache, key) == count + 1, f"{count} callers joining")


class TestOneLoad:
    """Many callers, one call of the factory."""

    def test_all_share_one_value(self, loader: Any) -> None:
        """Callers of a key that is missing get the one value; it is stored once."""
        source = Source("value", held=True)
        callers = [Call(loader.get_or_set, "key", source) for _ in range(20)]
        joined(loader, 19)
        source.go.set()
        assert ["value"] * 20 == [caller.result() for caller in callers]
        assert source.calls == 1
        assert loader.get("key") == "value"
        counted = loader.stats
        assert (counted.loads, counted.load_failures, counted.waits_joined, counted.sets) == (1, 0, 19, 1)
        assert counted.load_seconds > 0

    def test_all_share_one_error(self, loader: Any) -> None:
        """They share its failure as well, as it is, and nothing is left of it."""
        error = ZeroDivisionError("mine")
        source = Source(error, held=True)
        callers = [Call(loader.get_or_set, "key", source) for _ in range(5)]
        joined(loader, 4)
        source.go.set()
        for caller in callers:
            with pytest.raises(ZeroDivisionError, match="mine") as caught:
                caller.result()
            assert caught.value is error
        assert source.calls == 1
        assert loader.stats.load_failures == 1
        assert loader.explain("key").loading is False
        assert loader.get_or_set("key", Source("later")) == "later"

    def test_both_views_share_a_load(self, manager: CacheManager, room: Room) -> None:
        """Threads and tasks of two event loops wait for one load, whoever leads it."""
        sync, other = manager.get_cache("loads"), Room()
        view = manager.get_async_cache("loads")
        try:
            for number in range(4):
                key, source = f"key:{number}", Source("value", held=True)

                async def factory(source: Source = source) -> Any:
                    return await asyncio.to_thread(source)

                ways: list[Any] = [
                    (sync.get_or_set, key, source),
                    (room.do, view.get_or_set, key, factory),
                    (other.do, view.get_or_set, key, factory),
                ]
                calls = [Call(*ways[number % 3])]
                assert source.begun.wait(30)
                calls += [Call(*way) for way in ways for _ in range(3)]
                joined(sync, 9, key)
                source.go.set()
                assert ["value"] * 10 == [call.result() for call in calls]
                assert source.calls == 1
        finally:
            other.close()

    def test_two_keys_share_no_lock(self, loader: Any) -> None:
        """However many keys are being loaded, one more is not held up by them."""
        held = Source("slow", held=True)
        calls = [Call(loader.get_or_set, f"key:{number}", held) for number in range(30)]
        until(lambda: held.calls == 30)
        assert loader.get_or_set("another", Source("quick")) == "quick"
        held.go.set()
        assert ["slow"] * 30 == [call.result() for call in calls]


class TestInvalidations:
    """What happens to a key while it is loaded, wins."""

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("before", ["absent", "stale"])
    def test_a_change_during_a_load(self, loader: Any, clock: ManualClock, change: str, before: str) -> None:
        """The load's caller gets what it returns; nobody is served it afterwards, and the change stays."""
        if before == "stale":
            loader.set("key", "old", ttl=1, stale_for=1000, tags=["tag"])
            clock.advance(2)
        source = Source("loaded", held=True)
        caller = Call(loader.get_or_set, "key", source, tags=["tag"])
        assert source.begun.wait(30)
        CHANGES[change](loader)
        source.go.set()
        assert caller.result() == "loaded"
        expected = {"incr": 1}.get(change, "newer") if change in WRITES else None
        assert loader.get("key") == expected
        clock.advance(2)
        assert loader.get_or_set("key", Source("fresh")) in ("fresh", expected)

    @pytest.mark.parametrize("change", set(CHANGES) - {*WRITES})
    def test_who_comes_after_it_joins_no_older_load(self, loader: Any, change: str) -> None:
        """A caller who arrives after an invalidation has the value loaded anew, and that one is stored."""
        older, newer = Source("older", held=True), Source("newer")
        first = Call(loader.get_or_set, "key", older, tags=["tag"])
        assert older.begun.wait(30)
        CHANGES[change](loader)
        assert loader.get_or_set("key", newer, tags=["tag"]) == "newer"
        older.go.set()
        assert first.result() == "older"
        assert loader.get("key") == "newer"

    def test_two_generations_at_once(self, loader: Any) -> None:
        """Each caller gets the load of its own time, however the loads end."""
        sources = [Source(number, held=True) for number in range(3)]
        calls = []
        for number, source in enumerate(sources):
            calls += [Call(loader.get_or_set, "key", source)]
            assert source.begun.wait(30)
            calls += [Call(loader.get_or_set, "key", Source("never"))]
            joined(loader, 1)
            if number < 2:
                loader.delete("key")
        for source in reversed(sources):
            source.go.set()
        assert [0, 0, 1, 1, 2, 2] == [call.result() for call in calls]
        assert loader.get("key") == 2

    def test_a_factory_that_sets_its_own_key(self, loader: Any) -> None:
        """Its own `set` wins over what it returns."""

        def factory() -> str:
            loader.set("key", "set inside")
            return "returned"

        assert loader.get_or_set("key", factory) == "returned"
        assert loader.get("key") == "set inside"

    @pytest.mark.parametrize("change", ["delete", "invalidate_tags", "set"])
    def test_during_a_refresh_in_the_background(self, loader: Any, clock: ManualClock, change: str) -> None:
        """A load ahead of time is one like any other: what it brings too late is not served."""
        loader.set("key", "first", ttl=100, tags=["tag"])
        clock.advance(90)
        source = Source("too late", held=True)
        assert loader.get_or_set("key", source, ttl=100, tags=["tag"], refresh_ahead=0.8) == "first"
        assert source.begun.wait(30)
        CHANGES[change](loader)
        source.go.set()
        until(lambda: not loader._store.background._running)
        assert loader.get("key") == ("newer" if change == "set" else None)

    def test_late_tags(self, loader: Any) -> None:
        """A tag that the factory chooses counts as if it had been given: invalidated meanwhile, nothing is served."""
        begun, go = threading.Event(), threading.Event()

        def factory(context: Any) -> str:
            context.tags.add("late")
            begun.set()
            assert go.wait(30)
            return "older"

        for before in (False, True):
            if before:
                loader.set("another", 1, tags=["late"])
            caller = Call(loader.get_or_set, "key", factory)
            assert begun.wait(30)
            loader.invalidate_tags("late")
            waiter = Call(loader.get_or_set, "key", lambda context: "newer")
            joined(loader, 1)
            go.set()
            assert caller.result() == "older"
            assert waiter.result() == "newer", "who came after the invalidation was given what was loaded before it"
            assert loader.get("key") == "newer"
            loader.delete("key")
            begun.clear()
            go.clear()

    def test_late_tags_in_peace(self, loader: Any) -> None:
        """Without an invalidation it is stored, and dies with each of its tags."""
        for tag in ("given", "late"):

            def factory(context: Any) -> str:
                context.tags.add("late")
                return "value"

            assert loader.get_or_set("key", factory, tags=["given"]) == "value"
            assert loader.get("key") == "value"
            loader.invalidate_tags(tag)
            assert loader.get("key") is None


class TestCallers:
    """What one caller asks for is nobody else's business."""

    def test_a_ttl_is_for_one_load(self, loader: Any, clock: ManualClock) -> None:
        """Neither the ttl nor the tags nor the fallback of one load are those of the next."""

        def chosen(context: Any) -> str:
            context.ttl, context.stale_for, context.token = 5, 5, "etag"
            context.tags.add("late")
            return "short"

        loader.get_or_set("key", chosen, ttl=3, tags=["given"])
        assert loader.ttl("key") == pytest.approx(5, abs=0.01)
        clock.advance(20)
        loader.get_or_set("key", Source("long"))
        assert loader.ttl("key") == float("inf")
        loader.invalidate_tags("given", "late")
        assert loader.get("key") == "long"
        seen = []
        loader.delete("key")
        loader.get_or_set("key", lambda context: seen.append((context.ttl, context.token, context.tags)))
        assert [(None, "", set())] == seen

    def test_who_leads_decides(self, loader: Any) -> None:
        """Those who join a load get its value with the leader's ttl: theirs would belong to another load."""
        source = Source("value", held=True)
        leader = Call(loader.get_or_set, "key", source, ttl=100)
        assert source.begun.wait(30)
        waiter = Call(loader.get_or_set, "key", source, ttl=7)
        joined(loader, 1)
        source.go.set()
        assert "value" == leader.result() == waiter.result()
        assert loader.ttl("key") == pytest.approx(100, abs=0.01)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"ttl": 0}, CacheConfigError),
            ({"ttl": float("nan")}, CacheConfigError),
            ({"ttl": True}, CacheConfigError),
            ({"stale_for": -1}, CacheConfigError),
            ({"soft_timeout": -0.1}, CacheConfigError),
            ({"soft_timeout": False}, CacheConfigError),
            ({"hard_timeout": 0}, CacheConfigError),
            ({"refresh_ahead": 0}, CacheConfigError),
            ({"refresh_ahead": 1}, CacheConfigError),
            ({"refresh_ahead": "80%"}, CacheConfigError),
            ({"early_refresh": 0}, CacheConfigError),
            ({"early_refresh": float("nan")}, CacheConfigError),
            ({"early_refresh": True}, CacheConfigError),
            ({"retry_after": -1}, CacheConfigError),
            ({"lease": float("inf")}, CacheConfigError),
            ({"lease": 0}, CacheConfigError),
            ({"ttl_for": 5}, CacheConfigError),
            ({"tags": "text"}, CacheKeyError),
            ({"tags": [""]}, CacheKeyError),
            ({"unknown": 1}, TypeError),
        ],
        ids=repr,
    )
    def test_bad_options(self, loader: Any, options: dict[str, Any], error: type[Exception]) -> None:
        """What makes no sense is an error before anything is computed, and nothing is planted."""
        source = Source("value")
        with pytest.raises(error):
            loader.get_or_set("key", source, **options)
        assert source.calls == 0
        assert loader.explain("key").loading is False

    @pytest.mark.parametrize("key", ["", None, 1, b"key", "lone\ud800"], ids=repr)
    def test_bad_keys(self, loader: Any, key: Any) -> None:
        """A key that is none is an error before anything is computed."""
        source = Source("value")
        with pytest.raises(CacheKeyError):
            loader.get_or_set(key, source)
        assert source.calls == 0

    @pytest.mark.parametrize("factory", [None, "value", 5], ids=repr)
    def test_no_factory(self, loader: Any, factory: Any) -> None:
        """What can't be called is no factory."""
        with pytest.raises(TypeError, match="factory"):
            loader.get_or_set("key", factory)

    @pytest.mark.parametrize("value", [None, False, 0, "", [], {}], ids=repr)
    def test_nothing_is_a_miss_that_a_factory_returns(self, loader: Any, value: Any) -> None:
        """Every value is stored and is a hit, None and other empty ones as well."""
        source = Source(value)
        assert [value] * 3 == [loader.get_or_set("key", source) for _ in range(3)]
        assert source.calls == 1
        assert loader.get("key", "absent") == value
