"""Laws of the driver itself: what the core relies on below the cache."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest

from .. import errors
from .._capabilities import Capabilities
from .._record import Field, Record
from ._clock import ManualClock
from ._fixtures import Fixtures


class DriverLaws(Fixtures):
    """`swap`, removal and scans, on records."""

    def test_swap_compares_versions(self, cache: Any, driver: Any) -> None:
        """A swap changes the record it expects and no other."""
        codec, one, two, three = cache._store.codec, b"VERSION1", b"VERSION2", b"VERSION3"
        key = cache._store.keys.prefix + "key"
        first, second, third = (codec.raw(key, Record(version, version)) for version in (one, two, three))
        assert driver.swap(key, Field.VERSION, one, second, False) is False
        assert driver.get(key) is None
        assert driver.swap(key, Field.VERSION, None, first, False) is True
        assert driver.swap(key, Field.VERSION, None, second, False) is False
        assert driver.swap(key, Field.VERSION, two, third, False) is False
        assert codec.decode(key, driver.get(key)).version == one
        assert driver.swap(key, Field.VERSION, one, second, False) is True
        assert codec.decode(key, driver.get(key)).version == two
        assert driver.swap(key, Field.VERSION, one, None, False) is False
        assert driver.swap(key, Field.VERSION, two, None, False) is True
        assert driver.get(key) is None

    def test_swap_of_a_header(self, cache: Any, driver: Any) -> None:
        """A swap with ``header_only`` changes times and version, and keeps value and tags."""
        cache.set("key", {"deep": [1, 2, 3]}, ttl=10, tags=["tag"])
        key = cache._store.keys.prefix + "key"
        before = cache._store.codec.decode(key, driver.get(key))
        record = replace(before, version=b"VERSION2", kept_until=before.kept_until + 100)
        header = cache._store.codec.header(key, record)
        assert driver.swap(key, Field.VERSION, b"VERSION9", header, True) is False
        assert driver.swap(key, Field.VERSION, before.version, header, True) is True
        after = cache._store.codec.decode(key, driver.get(key))
        assert (after.version, after.kept_until, after.tags) == (b"VERSION2", record.kept_until, before.tags)
        assert cache.get("key") == {"deep": [1, 2, 3]}

    def test_every_write_brings_a_new_version(self, cache: Any, driver: Any) -> None:
        """Two writes of the same value can be told apart."""
        key = cache._store.keys.prefix + "key"
        versions: set[Any] = set()
        for _ in range(3):
            cache.set("key", 1)
            versions.add(cache._store.codec.decode(key, driver.get(key)).version)
        cache.touch("key", 10)
        versions.add(cache._store.codec.decode(key, driver.get(key)).version)
        assert len(versions) == 4

    def test_removal_returns_what_was_there(self, cache: Any, driver: Any) -> None:
        """`remove_many` returns the heads of what it removed, and only of that."""
        cache.set_many({"a": 1, "b": 2})
        prefix = cache._store.keys.prefix
        removed = driver.remove_many([prefix + "a", prefix + "missing"])
        assert list(removed) == [prefix + "a"]
        assert cache._store.codec.decode(prefix + "a", removed[prefix + "a"]).pending is False
        assert driver.remove_many([prefix + "a"]) == {}
        assert driver.remove(prefix + "b") is not None
        assert driver.remove(prefix + "b") is None

    def test_scan_sees_what_stays(self, cache: Any, driver: Any) -> None:
        """A scan returns every key that is there throughout, although others come and go between its pages."""
        prefix = cache._store.keys.prefix
        # In whatever order a store keeps them, some of those that go lie before the cursor.
        cache.set_many({f"{number:03}:{what}": number for number in range(300) for what in ("stays", "goes")})
        seen: set[str] = set()
        cursor, rounds = None, 0
        while True:
            page = driver.scan(prefix, cursor, 50)
            seen |= set(page.heads)
            cache.set(f"000:comes:{rounds}", rounds)
            cache.delete_many([f"{number:03}:goes" for number in range(10 * rounds, 10 * rounds + 10)])
            cursor, rounds = page.cursor, rounds + 1
            if cursor is None:
                break
        assert {prefix + f"{number:03}:stays" for number in range(300)} <= seen

    def test_scan_keeps_to_its_prefix(self, cache: Any, driver: Any) -> None:
        """Characters that are special elsewhere are ordinary in a prefix."""
        keys = ["a%b:1", "a_b:1", "axb:1", "a*b:1", "a[b]:1", "a\\b:1", "ab:1", "a:1"]
        cache.set_many(dict.fromkeys(keys, 0))
        for key in keys:
            assert cache.keys(key[:-1]) == [key]
        for cleared, key in enumerate(keys, start=1):
            cache.namespace(key[:-1]).clear()
            assert sorted(cache.keys()) == sorted(keys[cleared:])

    def test_capabilities_hold_together(self, capabilities: Capabilities) -> None:
        """What a driver declares makes sense."""
        declared = {"stores": capabilities.stores, "clock": capabilities.clock, "blocking": capabilities.blocking}
        for name, value in declared.items():
            allowed = get_args(get_type_hints(Capabilities)[name])
            assert value in allowed, f"{name} is one of {allowed}, not {value!r}"
        assert not (capabilities.shared and capabilities.stores == "objects"), "objects can't be shared by processes"
        assert not (capabilities.persistent and capabilities.clock == "process"), (
            "such times mean nothing after a restart"
        )
        assert not (capabilities.shared and capabilities.clock == "process"), "processes need a clock in common"
        assert not (capabilities.direct and capabilities.blocking != "never"), "a direct path is called in event loops"

    def test_usage(self, cache: Any) -> None:
        """Entries are counted right, or not at all."""
        cache.set_many({"a": 1, "b": 2})
        cache.delete("a")
        assert cache.stats.entries in (1, None)
        assert cache.stats.bytes is None or cache.stats.bytes > 0

    def test_errors_survive_pickling(self, cache: Any) -> None:
        """Errors travel between processes whole."""
        for name in errors.__all__:
            error = getattr(errors, name)("what happened", cache="c", backend="b", key="k")
            copy = pickle.loads(pickle.dumps(error))
            assert type(copy) is type(error)
            assert vars(copy) == vars(error)
            assert str(copy) == "what happened"
        with pytest.raises(errors.CacheKeyError) as caught:
            cache["missing"]
        assert pickle.loads(pickle.dumps(caught.value)).key == "missing"

    def test_bytes_that_were_changed(
        self, cache: Any, driver: Any, capabilities: Capabilities, clock: ManualClock
    ) -> None:
        """Bytes cut at any length, flipped anywhere or moved to another key are a miss with a reason, never a value."""
        if capabilities.stores == "objects":
            pytest.skip("the driver holds objects, there are no bytes to change")
        cache.set("key", {"data": [1, 2, 3]}, ttl=50, tags=["tag"])
        key = cache._store.keys.prefix + "key"
        good = driver.get(key)
        changed = [good[:length] for length in range(len(good))]
        changed += [good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :] for at in range(len(good))]
        for data in changed:
            driver.put(key, data)
            assert cache.get("key") is None
            assert cache.explain("key").state in ("unreadable", "absent")
        driver.put(cache._store.keys.prefix + "moved", good)
        assert cache.get("moved") is None
        assert cache.explain("moved").state == "unreadable"
        assert cache.stats.unreadable >= len(changed)
        driver.put(key, good[:20])
        assert cache.add("key", "new") is True
        assert cache.get("key") == "new"
        driver.put(key, good[:20])
        assert cache.incr("key") == 1
        driver.put(key, good[:-1])
        assert cache.pop("key") is None
        assert driver.get(key) is None
