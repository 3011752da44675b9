"""Laws of storing, finding, removing; of keys, namespaces and bulk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from .._capabilities import Capabilities
from ..errors import (
    CacheConfigError,
    CacheError,
    CacheKeyError,
    CacheSerializationError,
)
from ._clock import ManualClock
from ._fixtures import Fixtures

VALUES = [None, True, 0, -1, 2**70, 1.5, "", "text", "ünï✓", [], [1, [2, None]], {}, {"a": {"b": [1]}}]
AWKWARD_KEYS = [
    " ",
    "a:b",
    "a b",
    "*",
    "a?[b]*",
    "../../etc/passwd",
    "/absolute",
    "with\0nul",
    "line\nbreak",
    "%s{}",
    "'; DROP TABLE entries; --",
    "ä",
    "a\u0308",
    "日本語",
    "🎉",
    "x" * 10_000,
    "ä" * 10_000,
]
BAD_KEYS = ["", None, 1, 1.0, True, b"bytes", ("a",), ["a"], {"a": 1}, "\0nul first", "lone\ud800surrogate"]


class BasicLaws(Fixtures):
    """Storing, finding, removing."""

    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_a_value_comes_back_the_same(self, cache: Any, value: Any) -> None:
        """What was stored is returned, with its type; a stored None is a hit."""
        assert cache.set("key", value) is True
        found = cache.get("key", "nothing")
        assert found == value
        assert type(found) is type(value)

    def test_absent(self, cache: Any) -> None:
        """An absent key gives the default, and an error as an item."""
        assert cache.get("key") is None
        assert cache.get("key", 5) == 5
        assert cache.exists("key") is False
        assert cache.ttl("key") is None
        with pytest.raises(CacheKeyError):
            cache["key"]
        with pytest.raises(KeyError):
            del cache["key"]

    def test_items(self, cache: Any) -> None:
        """A cache can be written and read like a mapping."""
        cache["key"] = 1
        assert cache["key"] == 1
        assert "key" in cache
        del cache["key"]
        assert "key" not in cache

    def test_overwrite(self, cache: Any) -> None:
        """The last write counts."""
        cache.set("key", 1)
        cache.set("key", "two")
        assert cache.get("key") == "two"

    def test_delete(self, cache: Any) -> None:
        """`delete` says whether it was there."""
        cache.set("key", 1)
        assert cache.delete("key") is True
        assert cache.delete("key") is False
        assert cache.get("key") is None

    def test_add(self, cache: Any) -> None:
        """`add` stores only if absent."""
        assert cache.add("key", 1) is True
        assert cache.add("key", 2) is False
        assert cache.get("key") == 1
        cache.delete("key")
        assert cache.add("key", 3) is True

    def test_incr(self, cache: Any) -> None:
        """`incr` starts at initial + delta, works on a stored int, and knows no largest number."""
        assert cache.incr("n") == 1
        assert cache.incr("n", 5) == 6
        assert cache.decr("n", 10) == -4
        assert cache.incr("m", 2, initial=2**60) == 2**60 + 2
        cache.set("n", 2**53)
        assert cache.incr("n") == 2**53 + 1
        assert cache.get("n") == 2**53 + 1

    @pytest.mark.parametrize("value", ["1", 1.0, True, None, [1]], ids=repr)
    def test_incr_of_something_else(self, cache: Any, value: Any) -> None:
        """`incr` of anything but an int is an error and changes nothing."""
        cache.set("key", value)
        with pytest.raises(CacheSerializationError):
            cache.incr("key")
        assert cache.get("key") == value
        with pytest.raises(CacheSerializationError):
            cache.incr("other", 1.5)

    def test_pop(self, cache: Any) -> None:
        """`pop` returns the value and removes it."""
        cache.set("key", [1])
        assert cache.pop("key") == [1]
        assert cache.pop("key") is None
        assert cache.pop("key", 5) == 5
        assert cache.exists("key") is False

    def test_many(self, cache: Any) -> None:
        """Bulk operations do what the single ones do, for each key."""
        assert cache.set_many({"a": 1, "b": None, "c": [3]}) is True
        assert cache.get_many(["a", "b", "missing", "a"]) == {"a": 1, "b": None}
        assert cache.get_many([]) == {}
        assert cache.set_many({}) is True
        assert cache.delete_many(["a", "a", "missing", "c"]) == 2
        assert sorted(cache.keys()) == ["b"]
        bad: list[Callable[[], Any]] = [
            lambda: cache.get_many("abc"),
            lambda: cache.get_many(None),
            lambda: cache.delete_many("abc"),
            lambda: cache.set_many(["a"]),
            lambda: cache.set_many(None),
        ]
        for call in bad:
            with pytest.raises(CacheKeyError):
                call()

    def test_many_more_than_a_page(self, cache: Any) -> None:
        """Scans go on past one page."""
        entries = {f"key:{number}": number for number in range(2500)}
        cache.set_many(entries)
        assert sorted(cache.keys("key:")) == sorted(entries)
        assert cache.get_many(entries) == entries
        assert cache.delete_pattern("key:1*") == sum(str(number).startswith("1") for number in range(2500))
        cache.clear()
        assert cache.keys() == []

    @pytest.mark.parametrize("key", AWKWARD_KEYS, ids=ascii)
    def test_awkward_keys(self, cache: Any, key: str) -> None:
        """Any text is a key like any other, in every operation."""
        cache.set(key, 1)
        assert cache.get(key) == 1
        assert cache.keys() == [key]
        assert cache.incr(key) == 2
        assert cache.touch(key, 5) is True
        assert cache.explain(key).served is True
        assert cache.get_many([key]) == {key: 2}
        assert cache.pop(key) == 2
        assert cache.add(key, 3) is True
        assert cache.delete(key) is True

    @pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
    def test_bad_keys(self, cache: Any, key: Any) -> None:
        """What can't be a key is an error in every operation, never a miss."""
        calls: list[Callable[[], Any]] = [
            lambda: cache.get(key),
            lambda: cache.set(key, 1),
            lambda: cache.add(key, 1),
            lambda: cache.incr(key),
            lambda: cache.pop(key),
            lambda: cache.touch(key, 1),
            lambda: cache.expire(key),
            lambda: cache.delete(key),
            lambda: cache.exists(key),
            lambda: cache.ttl(key),
            lambda: cache.explain(key),
            lambda: cache.get_many([key]),
            lambda: cache.delete_many([key]),
            lambda: cache[key],
        ]
        for call in calls:
            with pytest.raises(CacheKeyError):
                call()

    def test_keys_that_differ_only_a_little(self, cache: Any) -> None:
        """Keys are compared exactly: no folding of case, width or accents."""
        different = ["a", "A", "a ", "ä", "a\u0308", "a:", "a\0"]
        for number, key in enumerate(different):
            cache.set(key, number)
        assert [cache.get(key) for key in different] == list(range(len(different)))

    def test_two_caches(self, cache: Any, other: Any) -> None:
        """Caches of different names never see or remove each other's entries."""
        cache.set("key", 1, tags=["tag"])
        other.set("key", 2, tags=["tag"])
        assert (cache.get("key"), other.get("key")) == (1, 2)
        assert cache.keys() == ["key"]
        other.invalidate_tags("tag")
        assert (cache.get("key"), other.get("key")) == (1, None)
        other.clear()
        assert cache.get("key") == 1

    def test_two_caches_that_close(
        self,
        cache_settings: Mapping[str, Any],
        cache: Any,
        other: Any,
        capabilities: Capabilities,
        clock: ManualClock,
        view: str,
    ) -> None:
        """Caches of equal settings are open side by side: neither loses anything when the other one is closed.

        Nor do they when both are opened again, if the store is persistent.
        """
        cache.set_many({"one": 1, "two": 2})
        other.set_many({"one": "one", "two": "two"})
        other.close()
        cache.set_many({"two": 3, "three": 3})
        kept = {"one": 1, "two": 3, "three": 3}
        assert cache.get_many(["one", "two", "three"]) == kept
        if not capabilities.persistent:
            return
        cache.close()
        contents: dict[str, dict[str, Any]] = {"other": {"one": "one", "two": "two"}, "kit": kept}
        for manager in self.managers(cache_settings, clock):
            for name, content in contents.items():
                again = self.in_view(manager, name, view)
                assert again.get_many(["one", "two", "three"]) == content, name
                assert sorted(again.keys()) == sorted(content), name

    def test_namespaces(self, cache: Any) -> None:
        """A namespace is a prefix; nested ones put their prefixes together; a missing separator is added."""
        users = cache.namespace("user")
        users.set("1", "one")
        assert cache.get("user:1") == "one"
        assert cache.namespace("user:").get("1") == "one"
        cache.set("user:2:name", "two")
        assert users.namespace("2").get("name") == "two"
        assert sorted(users.keys()) == ["1", "2:name"]
        assert cache.namespace("use").keys() == []
        cache.set_many({"elsewhere": 1, "users:1": 1})
        users.clear()
        assert sorted(cache.keys()) == ["elsewhere", "users:1"]

    @pytest.mark.parametrize("prefix", ["", "\0a", None, 1])
    def test_bad_namespaces(self, cache: Any, prefix: Any) -> None:
        """What could not begin a key is no namespace."""
        with pytest.raises(CacheKeyError):
            cache.namespace(prefix)

    def test_patterns(self, cache: Any) -> None:
        """A glob matches whole keys, inside this cache or namespace only, and only its own characters are special."""
        cache.set_many(dict.fromkeys(["a1", "a2", "b1", "a[1]", "ns:a1", "x%y", "x_y"], 0))
        assert cache.namespace("ns").delete_pattern("a*") == 1
        assert cache.delete_pattern("a[12]") == 2
        assert cache.delete_pattern("x%*") == 1
        assert cache.delete_pattern("?") == 0
        assert sorted(cache.keys()) == ["a[1]", "b1", "x_y"]
        assert cache.delete_pattern("*") == 3

    def test_clear(self, cache: Any) -> None:
        """`clear` leaves nothing, and the cache goes on working."""
        cache.set_many({"a": 1, "b": 2}, tags=["tag"])
        cache.clear()
        assert cache.keys() == []
        assert cache.get("a") is None
        cache.set("a", 3)
        assert cache.get("a") == 3

    def test_statistics(self, cache: Any) -> None:
        """Reads count as hits and misses, looking doesn't."""
        cache.set("a", 1)
        cache.set_many({"b": 2, "c": 3})
        assert [cache.get("a"), cache.get("x"), cache.get_many(["a", "b", "x"])] == [1, None, {"a": 1, "b": 2}]
        assert [cache.exists("a"), cache.ttl("missing"), cache.explain("a").served] == [True, None, True]
        assert [cache.delete("c"), cache.delete("x")] == [True, False]
        stats = cache.stats
        assert (stats.hits, stats.misses, stats.sets, stats.deletes) == (3, 2, 3, 1)
        assert stats.hit_rate == 3 / 5

    def test_closing(self, cache: Any, driver: Any) -> None:
        """After `close` every call is an error, but `close` itself, the cache's and the driver's."""
        cache.set("a", 1)
        space = cache.namespace("space")
        cache.close()
        cache.close()
        driver.close()
        calls: list[Callable[[], Any]] = [
            lambda: cache.get("a"),
            lambda: cache.get("b"),
            lambda: cache.set("a", 1),
            lambda: cache.delete("a"),
            lambda: cache.keys(),
            lambda: cache.ping(),
            lambda: space.get("a"),
            lambda: space.set("a", 1),
        ]
        for call in calls:
            with pytest.raises(CacheError, match="closed"):
                call()

    def test_ping(self, cache: Any) -> None:
        """`ping` says how long the backend takes to answer."""
        assert 0 <= cache.ping() < 30

    def test_lock(self, cache: Any) -> None:
        """A lock is held by one at a time, and free again afterwards."""
        with cache.lock("job", ttl=60) as lock:
            assert lock.held() is True
            with pytest.raises(TimeoutError), cache.lock("job", ttl=60, wait=0):
                pytest.fail("two holders of one lock")
            cache.clear()
            assert lock.held() is True
            lock.renew()
        with cache.lock("job", ttl=60, wait=0):
            pass
        assert cache.keys() == []

    def test_lost_lock(self, cache: Any, clock: Any) -> None:
        """A lock whose time is over can be taken by others, and its holder is told."""
        lock = cache.lock("job", ttl=10)
        with lock:
            clock.advance(9)
            lock.renew()
            clock.advance(9)
            assert lock.held() is True

        def outlive() -> None:
            with lock:
                clock.advance(11)
                assert lock.held() is False
                with cache.lock("job", ttl=10, wait=0):
                    pass

        with pytest.raises(CacheError, match="lost"):
            outlive()
        with pytest.raises(CacheConfigError):
            cache.lock("job", ttl=float("inf"))
        for name in ("", None, 5, "\0"):
            with pytest.raises(CacheKeyError):
                cache.lock(name, ttl=1)

    def test_lock_among_threads(self, cache: Any) -> None:
        """Whoever waits for a lock gets it when it is free, and nobody else has it."""
        inside: list[int] = []
        most: list[int] = []
        start = threading.Barrier(4)

        def work() -> None:
            start.wait(timeout=60)
            for _ in range(5):
                with cache.lock("job", ttl=60):
                    inside.append(1)
                    time.sleep(0.001)  # for the others to come in, if they can
                    most.append(len(inside))
                    inside.pop()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert len(most) == 20
        assert max(most) == 1
