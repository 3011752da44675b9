"""Laws of lifetimes: fresh, stale, absent, on an injected clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from .._capabilities import Capabilities
from ..errors import CacheConfigError, CacheExpiredError, CacheKeyError
from ._clock import ManualClock
from ._fixtures import Fixtures

PATIENCE = 15.0
"""Seconds in which entries that are over have to leave the store; the timer comes by once a second."""


class LifetimeLaws(Fixtures):
    """Fresh until the ttl ends, kept until stale_for ends, then absent everywhere."""

    @pytest.mark.parametrize("ttl", [10, 10.0, timedelta(seconds=10), "10s", "9s1000ms"], ids=repr)
    def test_ttl(self, cache: Any, clock: ManualClock, ttl: Any) -> None:
        """An entry is served until its ttl ends, and not at the end."""
        cache.set("key", 1, ttl=ttl)
        assert cache.ttl("key") == pytest.approx(10, abs=0.01)
        clock.advance(9.9)
        assert cache.get("key") == 1
        clock.advance(0.2)
        assert cache.get("key") is None
        assert cache.ttl("key") is None
        assert cache.exists("key") is False
        assert cache.keys() == []

    def test_no_ttl(self, cache: Any, clock: ManualClock) -> None:
        """Without ttl, or with inf, an entry does not end."""
        cache.set("a", 1)
        cache.set("b", 1, ttl=math.inf)
        clock.advance(10 * 365 * 86_400)
        assert cache.get_many(["a", "b"]) == {"a": 1, "b": 1}
        assert cache.ttl("a") == math.inf

    @pytest.mark.parametrize(
        "ttl", [0, -1, math.nan, -math.inf, True, "0s", "-5s", "5", "5 parsecs", b"5s", "5m3", 10**400, -(10**400)]
    )
    def test_bad_ttl(self, cache: Any, ttl: Any) -> None:
        """A ttl that is no length of time is an error, and nothing is stored."""
        calls: list[Callable[[], Any]] = [
            lambda: cache.set("key", 1, ttl=ttl),
            lambda: cache.set_many({"key": 1}, ttl=ttl),
            lambda: cache.add("key", 1, ttl=ttl),
            lambda: cache.incr("key", ttl=ttl),
        ]
        for call in calls:
            with pytest.raises(CacheConfigError):
                call()
        assert cache.exists("key") is False
        cache.set("key", 1)
        with pytest.raises(CacheConfigError):
            cache.touch("key", ttl)

    def test_a_write_brings_its_own_ttl(self, cache: Any, clock: ManualClock) -> None:
        """An entry that is written again lives by its last ttl, shorter or longer."""
        cache.set("key", 1, ttl=10)
        cache.set("key", 2, ttl=100)
        clock.advance(50)
        assert cache.get("key") == 2
        cache.set("key", 3, ttl=5)
        clock.advance(6)
        assert cache.get("key") is None
        cache.set("key", 4)
        assert cache.ttl("key") == math.inf

    def test_stale(self, cache: Any, clock: ManualClock) -> None:
        """Past its ttl an entry that is kept counts as absent, and as an item says why."""
        cache.set_many({"key": 1, "other": 1}, ttl=10, stale_for=20)
        clock.advance(15)
        assert cache.get("key") is None
        assert cache.exists("key") is False
        assert cache.ttl("key") is None
        assert cache.keys() == []
        assert cache.get_many(["key"]) == {}
        assert cache.touch("key", 10) is False
        assert cache.explain("key").state == "stale"
        assert cache.delete("other") is True  # was kept
        with pytest.raises(CacheExpiredError):
            cache["key"]
        clock.advance(20)
        with pytest.raises(CacheKeyError) as caught:
            cache["key"]
        assert not isinstance(caught.value, CacheExpiredError)

    def test_stale_is_absent_for_writers(self, cache: Any, clock: ManualClock) -> None:
        """`add`, `incr` and `pop` take a stale entry for an absent one."""
        for key in ("add", "incr", "pop"):
            cache.set(key, 5, ttl=10, stale_for=100)
        clock.advance(11)
        assert cache.add("add", 7) is True
        assert cache.get("add") == 7
        assert cache.incr("incr") == 1
        assert cache.pop("pop", "default") == "default"
        assert cache.get("pop") is None

    def test_expire(self, cache: Any, clock: ManualClock) -> None:
        """`expire` ends the ttl now and keeps the value as long as it would have been."""
        cache.set("key", 1, ttl=10, stale_for=20)
        assert cache.expire("key") is True
        assert cache.get("key") is None
        assert cache.explain("key").state == "stale"
        assert cache.expire("key") is False
        clock.advance(31)
        assert cache.explain("key").state in ("expired", "absent")
        assert cache.expire("key") is False
        assert cache.expire("missing") is False

    def test_touch(self, cache: Any, clock: ManualClock) -> None:
        """`touch` gives a new life, to what is fresh only."""
        cache.set("key", 1, ttl=10)
        clock.advance(9)
        assert cache.touch("key", 10) is True
        clock.advance(9)
        assert cache.get("key") == 1
        assert cache.touch("key", math.inf) is True
        assert cache.ttl("key") == math.inf
        assert cache.touch("key", 1) is True
        clock.advance(2)
        assert cache.touch("key", 10) is False
        assert cache.touch("missing", 10) is False

    def test_incr_keeps_its_time(self, cache: Any, clock: ManualClock) -> None:
        """The ttl of `incr` counts at creation only."""
        cache.incr("n", ttl=10)
        clock.advance(6)
        cache.incr("n", ttl=10)
        clock.advance(6)
        assert cache.incr("n", ttl=10) == 1

    def test_expired_entries_leave_the_store(
        self, cache: Any, driver: Any, capabilities: Capabilities, clock: ManualClock
    ) -> None:
        """Entries whose time is over are removed although nobody reads them, and counted."""
        cache.set_many({f"key:{number}": number for number in range(100)}, ttl=10)
        cache.set("stays", 1)
        clock.advance(11)
        if capabilities.native_expiry:
            pytest.skip("the store removes them by its own clock")
        heads: dict[str, Any] = {}
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            heads, cursor = {}, None
            while True:
                page = driver.scan(cache._store.keys.prefix, cursor, 1000)
                heads |= page.heads
                cursor = page.cursor
                if cursor is None:
                    break
            if len(heads) <= 1 and cache.stats.expirations >= 100:
                break
            time.sleep(0.05)
        assert list(heads) == [cache._store.keys.prefix + "stays"]
        assert cache.stats.expirations == 100
        assert cache.get("stays") == 1


class SlidingLaws(Fixtures):
    """Settings of a cache that change lifetimes; the backend only stores what they come to."""

    def test_default_and_maximum(self, cache_settings: Any, clock: ManualClock, view: str) -> None:
        """The cache's ttl is used where none is given; none is longer than the maximum."""
        settings = {**cache_settings, "ttl": "10s", "max_ttl": 20}
        for manager in self.managers(settings, clock):
            cache = self.in_view(manager, "kit", view)
            cache.set("a", 1)
            cache.set("b", 1, ttl=100)
            cache.set("c", 1, ttl=math.inf)
            assert cache.ttl("a") == pytest.approx(10, abs=0.01)
            assert cache.ttl("b") == pytest.approx(20, abs=0.01)
            assert cache.ttl("c") == pytest.approx(20, abs=0.01)

    def test_sliding(self, cache_settings: Any, clock: ManualClock, view: str) -> None:
        """A hit renews an entry once an eighth of its ttl is used."""
        for manager in self.managers({**cache_settings, "sliding": True}, clock):
            cache = self.in_view(manager, "kit", view)
            cache.set("key", 1, ttl=80)
            clock.advance(9)
            assert cache.ttl("key") == pytest.approx(71, abs=0.01)
            assert cache.get("key") == 1
            assert cache.ttl("key") == pytest.approx(71, abs=0.01)
            clock.advance(2)
            assert cache.get("key") == 1
            assert cache.ttl("key") == pytest.approx(80, abs=0.01)

    def test_jitter(self, cache_settings: Any, clock: ManualClock, view: str) -> None:
        """Jitter takes a random part of the ttl off, never more than its share."""
        for manager in self.managers({**cache_settings, "jitter": 0.5}, clock):
            cache = self.in_view(manager, "kit", view)
            cache.set_many({str(number): number for number in range(2)}, ttl=100)
            for number in range(20):
                cache.set(f"one:{number}", number, ttl=100)
            ttls = [cache.ttl(key) for key in cache.keys("one:")]
            assert all(49.9 <= ttl <= 100.1 for ttl in ttls)
            assert len(set(ttls)) > 10

    def test_default_stale_for(self, cache_settings: Any, clock: ManualClock, view: str) -> None:
        """The cache's stale_for is used where none is given."""
        for manager in self.managers({**cache_settings, "stale_for": "1m"}, clock):
            cache = self.in_view(manager, "kit", view)
            cache.set("a", 1, ttl=10)
            cache.set("b", 1, ttl=10, stale_for=0)
            clock.advance(30)
            with pytest.raises(CacheExpiredError):
                cache["a"]
            with pytest.raises(CacheKeyError) as caught:
                cache["b"]
            assert not isinstance(caught.value, CacheExpiredError)
