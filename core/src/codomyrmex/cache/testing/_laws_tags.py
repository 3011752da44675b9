"""Laws of tags, and of the invalidations that no load may overwrite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from .._record import Field, Record
from ..errors import CacheKeyError
from ._clock import ManualClock
from ._fixtures import Fixtures


class TagLaws(Fixtures):
    """An entry dies with any of its tags."""

    def test_invalidation(self, cache: Any) -> None:
        """Every entry that carries an invalidated tag is absent in every operation; all others stay."""
        cache.set("a", 1, tags=["red", "round"])
        cache.set_many({"b": 2, "c": 3}, tags=["red"])
        cache.set("d", 4, tags=["round"])
        cache.set("e", 5)
        cache.invalidate_tags("red")
        assert cache.get_many(["a", "b", "c", "d", "e"]) == {"d": 4, "e": 5}
        assert sorted(cache.keys()) == ["d", "e"]
        assert cache.exists("a") is False
        assert cache.ttl("a") is None
        assert cache.explain("a").state == "invalidated"
        assert cache.touch("a", 10) is False
        assert cache.delete("b") is False
        assert cache.pop("c", "default") == "default"
        assert cache.add("a", 7) is True
        with pytest.raises(CacheKeyError):
            cache["b"]

    def test_written_again(self, cache: Any) -> None:
        """What is written after the invalidation is served, also with the same tag."""
        for value in range(3):
            cache.set("key", value, tags=["tag"])
            assert cache.get("key") == value
            cache.invalidate_tags("tag")
            assert cache.get("key") is None

    def test_last_write_decides(self, cache: Any) -> None:
        """An entry has the tags of its last write."""
        cache.set("key", 1, tags=["old"])
        cache.set("key", 2, tags=["new"])
        cache.invalidate_tags("old")
        assert cache.get("key") == 2
        cache.set("key", 3)
        cache.invalidate_tags("new")
        assert cache.get("key") == 3

    def test_any_of_several(self, cache: Any) -> None:
        """An entry dies with each of its tags, the first, the last and those between."""
        tags = ["first", "second", "third", "last"]
        for tag in tags:
            cache.set("key", 1, tags=tags)
            assert cache.get("key") == 1
            cache.invalidate_tags(tag)
            assert cache.get("key") is None

    def test_several_at_once(self, cache: Any) -> None:
        """Several tags are invalidated in one call; unknown ones do no harm."""
        cache.set("a", 1, tags=["x"])
        cache.set("b", 1, tags=["y"])
        cache.invalidate_tags("x", "y", "never seen")
        cache.invalidate_tags()
        assert cache.keys() == []

    def test_incr_and_touch_keep_tags(self, cache: Any, clock: ManualClock) -> None:
        """An entry that is changed in place keeps its tags, however long it goes on living."""
        cache.set("n", 1, ttl=100, tags=["tag"])
        cache.incr("n")
        cache.touch("n", 10 * 365 * 86_400)
        clock.advance(365 * 86_400)
        assert cache.get("n") == 2
        cache.invalidate_tags("tag")
        assert cache.get("n") is None

    def test_tags_cross_namespaces(self, cache: Any) -> None:
        """Tags belong to the cache: that is how they reach across its namespaces."""
        cache.namespace("a").set("key", 1, tags=["tag"])
        cache.namespace("b").set("key", 1, tags=["tag"])
        cache.namespace("c").invalidate_tags("tag")
        assert cache.keys() == []

    def test_a_long_lived_entry_outlives_no_marker(self, cache: Any, clock: ManualClock) -> None:
        """A tagged entry is served until its own time is over, whatever happens to the tag's shorter-lived entries."""
        cache.set("short", 1, ttl=5, tags=["tag"])
        cache.set("long", 1, ttl=30 * 86_400, tags=["tag"])
        cache.set("endless", 1, tags=["tag"])
        clock.advance(29 * 86_400)
        assert cache.get_many(["short", "long", "endless"]) == {"long": 1, "endless": 1}
        clock.advance(3000 * 86_400)
        assert cache.get("endless") == 1
        cache.invalidate_tags("tag")
        assert cache.get("endless") is None

    @pytest.mark.parametrize(
        "tags", ["text", 5, [""], [1], [None], [["a"]], ["lone\ud800"], ["x" * 1001], ["x"] * 1001], ids=repr
    )
    def test_bad_tags(self, cache: Any, tags: Any) -> None:
        """What can't be a tag is an error, and nothing is stored."""
        with pytest.raises(CacheKeyError):
            cache.set("key", 1, tags=tags)
        assert cache.exists("key") is False
        with pytest.raises(CacheKeyError):
            cache.invalidate_tags(*(tags if isinstance(tags, list) else [[tags]]))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda cache: cache.set("key", "new"),
    "set_many": lambda cache: cache.set_many({"key": "new"}),
    "add": lambda cache: cache.add("key", "new"),
    "incr": lambda cache: cache.incr("key"),
    "delete": lambda cache: cache.delete("key"),
    "delete_many": lambda cache: cache.delete_many(["key"]),
    "delete_pattern": lambda cache: cache.delete_pattern("k*"),
    "pop": lambda cache: cache.pop("key"),
    "expire": lambda cache: cache.expire("key"),
    "clear": lambda cache: cache.clear(),
}


class LeaseLaws(Fixtures):
    """A load may store only while its lease is in the record, and every change of the key takes it out."""

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("before", ["absent", "stale"])
    def test_a_change_voids_the_lease(
        self, cache: Any, driver: Any, clock: ManualClock, change: str, before: str
    ) -> None:
        """After any change of the key, or of all keys, a load that had begun before stores nothing."""
        storage, lease = self.plant(cache, driver, clock, before)
        CHANGES[change](cache)
        late = self.loaded(cache, storage)
        assert driver.swap(storage, Field.LEASE, lease, late, False) is False
        assert cache.get("key") != "loaded"

    @pytest.mark.parametrize("before", ["absent", "stale"])
    def test_an_undisturbed_load_stores(self, cache: Any, driver: Any, clock: ManualClock, before: str) -> None:
        """Looking and reading disturb no load; without a change it stores."""
        storage, lease = self.plant(cache, driver, clock, before)
        assert cache.get("key") is None
        assert cache.exists("key") is False
        assert cache.keys() == []
        assert cache.explain("key").loading is True
        cache.set("another", 1)
        assert driver.swap(storage, Field.LEASE, lease, self.loaded(cache, storage), False) is True
        assert cache.get("key") == "loaded"
        assert driver.swap(storage, Field.LEASE, lease, self.loaded(cache, storage), False) is False

    def test_another_lease(self, cache: Any, driver: Any, clock: ManualClock) -> None:
        """A lease that was taken over stores nothing."""
        storage, lease = self.plant(cache, driver, clock, "absent")
        codec, store = cache._store.codec, cache._store
        mine = codec.encode(storage, self.pending(store, b"OTHER!!!", clock))
        assert driver.swap(storage, Field.LEASE, lease, mine, False) is True
        assert driver.swap(storage, Field.LEASE, lease, self.loaded(cache, storage), False) is False

    @pytest.mark.parametrize("before", ["absent", "stale"])
    def test_a_load_that_is_given_up(self, cache: Any, driver: Any, clock: ManualClock, before: str) -> None:
        """A load without a result takes its lease out, its own only, and leaves the rest as it was."""
        storage, lease = self.plant(cache, driver, clock, before)
        if before == "absent":
            after, header_only, state = None, False, "absent"
        else:
            stale = cache._store.codec.decode(storage, driver.get(storage))
            free = replace(stale, version=cache._store.token(), lease=None, lease_until=0.0)
            after, header_only, state = cache._store.codec.header(storage, free), True, "stale"
        assert driver.swap(storage, Field.LEASE, b"OTHER!!!", after, header_only) is False
        assert cache.explain("key").loading is True
        assert driver.swap(storage, Field.LEASE, lease, after, header_only) is True
        assert (cache.explain("key").loading, cache.explain("key").state) == (False, state)
        assert driver.swap(storage, Field.LEASE, lease, after, header_only) is False

    def test_tokens_captured_before_the_load(self, cache: Any, driver: Any, clock: ManualClock) -> None:
        """A value stored with the tokens of before an invalidation is dead on arrival."""
        cache.set("first", 1, tags=["tag"])
        storage = cache._store.keys.prefix + "first"
        captured = cache._store.codec.decode(storage, driver.get(storage)).tags
        cache.invalidate_tags("tag")
        late = cache._store.keys.prefix + "late"
        record = Record(value="loaded", version=cache._store.token(), tags=captured)
        driver.put(late, cache._store.codec.encode(late, record))
        assert cache.get("late") is None

    def test_a_pending_record_counts_for_nothing(self, cache: Any, driver: Any, clock: ManualClock) -> None:
        """A load that has not finished is not an entry."""
        self.plant(cache, driver, clock, "absent")
        assert cache.delete("key") is False
        self.plant(cache, driver, clock, "absent")
        assert cache.pop("key", 5) == 5
        self.plant(cache, driver, clock, "absent")
        assert cache.touch("key", 5) is False
        assert cache.explain("key").state == "pending"

    def plant(self, cache: Any, driver: Any, clock: ManualClock, before: str) -> tuple[str, bytes]:
        """Begin a load of ``key``, as a loader does."""
        store = cache._store
        storage, lease = store.keys.prefix + "key", b"LEASE-01"
        if before == "absent":
            record = store.codec.encode(storage, self.pending(store, lease, clock))
            assert driver.swap(storage, Field.VERSION, None, record, False) is True
            return storage, lease
        cache.set("key", "old", ttl=10, stale_for=1000)
        clock.advance(11)
        stale = store.codec.decode(storage, driver.get(storage))
        leased = replace(stale, version=store.token(), lease=lease, lease_until=clock() + 60)
        header = store.codec.header(storage, leased)
        assert driver.swap(storage, Field.VERSION, stale.version, header, True) is True
        return storage, lease

    @staticmethod
    def pending(store: Any, lease: bytes, clock: ManualClock) -> Record:
        """A record that has no value yet."""
        until = clock() + 60
        return Record(None, store.token(), until, until, 60, lease, until, pending=True)

    @staticmethod
    def loaded(cache: Any, storage: str) -> Any:
        """What a load stores at its end."""
        return cache._store.codec.encode(storage, Record("loaded", cache._store.token()))
