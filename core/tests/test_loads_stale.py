"""Values past their ttl, and ahead of its end: failures, timeouts, refreshes in the background."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import pytest
from loading import Call, Source, until, waiting

from codomyrmex.cache import CacheManager
from codomyrmex.cache._shells import ThreadShell
from codomyrmex.cache._steps import run
from codomyrmex.cache.testing import ManualClock


def keep(cache: Any, clock: ManualClock, value: Any = "kept") -> None:
    """Leave ``value`` behind, past its ttl and kept."""
    cache.set("key", value, ttl=10, stale_for=1000)
    clock.advance(20)


def idle(cache: Any) -> None:
    """Wait for the loads in the background."""
    until(lambda: not cache._store.background._running, "the end of the loads in the background")


class TestFailures:
    """Stale on error, and not again for a while."""

    def test_the_kept_value(self, loader: Any, clock: ManualClock) -> None:
        """It is served in place of the error, counted, and the factory is left alone until `retry_after` is over."""
        keep(loader, clock)
        source = Source(ZeroDivisionError(), ZeroDivisionError(), "new")
        for seconds, calls in ((0, 1), (4, 1), (5.9, 1), (0.2, 2), (9, 2), (2, 3)):
            clock.advance(seconds)
            expected = "new" if calls == 3 else "kept"
            assert loader.get_or_set("key", source, stale_for=1000) == expected
            assert source.calls == calls
            assert loader.get("key") == (None if calls < 3 else "new")
        counted = loader.stats
        assert (counted.loads, counted.load_failures, counted.stale_hits) == (3, 2, 5)

    def test_retry_after_of_one_call(self, loader: Any, clock: ManualClock) -> None:
        """Zero means that every call tries; another number counts from the failure."""
        keep(loader, clock)
        source = Source(ZeroDivisionError())
        for calls in (1, 2):
            assert loader.get_or_set("key", source, retry_after=0) == "kept"
            assert source.calls == calls
        assert loader.get_or_set("key", source, retry_after=100) == "kept"
        clock.advance(99)
        assert loader.get_or_set("key", source) == "kept"
        assert source.calls == 3
        clock.advance(2)
        assert loader.get_or_set("key", source) == "kept"
        assert source.calls == 4

    def test_without_a_kept_value(self, loader: Any, clock: ManualClock) -> None:
        """The error comes out, also past the time of a fallback; and everyone who comes later tries."""
        source = Source(ZeroDivisionError())
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                loader.get_or_set("key", source)
        keep(loader, clock)
        clock.advance(1000)
        with pytest.raises(ZeroDivisionError):
            loader.get_or_set("key", source)
        assert source.calls == 3
        assert loader.stats.stale_hits == 0

    def test_the_fallback_ends_during_the_load(self, loader: Any, clock: ManualClock) -> None:
        """A value whose time ended while the factory ran is served by nobody."""
        keep(loader, clock)
        source = Source(ZeroDivisionError(), held=True)
        caller = Call(loader.get_or_set, "key", source)
        assert source.begun.wait(30)
        clock.advance(2000)
        source.go.set()
        with pytest.raises(ZeroDivisionError):
            caller.result()

    def test_an_invalidation_takes_the_fallback_too(self, loader: Any, clock: ManualClock) -> None:
        """A value that was removed while the factory ran is no fallback."""
        keep(loader, clock)
        source = Source(ZeroDivisionError(), held=True)
        caller = Call(loader.get_or_set, "key", source)
        assert source.begun.wait(30)
        loader.delete("key")
        source.go.set()
        with pytest.raises(ZeroDivisionError):
            caller.result()

    def test_those_who_wait_share_it(self, loader: Any, clock: ManualClock) -> None:
        """All callers of a load that fails get the kept value, each counted."""
        keep(loader, clock)
        source = Source(ZeroDivisionError(), held=True)
        callers = [Call(loader.get_or_set, "key", source) for _ in range(5)]
        until(lambda: waiting(loader) == 5)
        source.go.set()
        assert ["kept"] * 5 == [caller.result() for caller in callers]
        assert loader.stats.stale_hits == 5
        assert loader.stats.waits_joined == 4

    def test_expire_keeps_a_fallback(self, loader: Any) -> None:
        """What `expire` ended is one, if it has a time as such."""
        loader.set("key", "kept", ttl=10, stale_for=10)
        loader.expire("key")
        assert loader.get_or_set("key", Source(ZeroDivisionError())) == "kept"


class TestTimeouts:
    """`soft_timeout` and `hard_timeout`."""

    @pytest.mark.parametrize("soft", [0, 0.05])
    def test_soft(self, loader: Any, clock: ManualClock, soft: float) -> None:
        """With a kept value the caller waits no longer than this; the load goes on and stores."""
        keep(loader, clock)
        source = Source("new", held=True)
        begin = time.monotonic()
        assert loader.get_or_set("key", source, soft_timeout=soft) == "kept"
        assert soft <= time.monotonic() - begin < 3
        assert loader.get_or_set("key", source, soft_timeout=soft) == "kept"
        source.go.set()
        until(lambda: loader.get("key") == "new")
        assert source.calls == 1
        assert loader.stats.stale_hits == 2

    @pytest.mark.parametrize("soft", [0, 0.01])
    def test_soft_without_a_kept_value(self, loader: Any, soft: float) -> None:
        """Then the caller waits until it is there."""
        source = Source("new", held=True)
        caller = Call(loader.get_or_set, "key", source, soft_timeout=soft)
        waiter = Call(loader.get_or_set, "key", source, soft_timeout=soft)
        until(lambda: waiting(loader) == 2)
        assert source.begun.wait(30)
        time.sleep(0.05)
        assert caller.is_alive()
        source.go.set()
        assert "new" == caller.result() == waiter.result()

    def test_soft_is_quick_enough(self, loader: Any, clock: ManualClock) -> None:
        """A load that ends within the timeout is waited for."""
        keep(loader, clock)
        assert loader.get_or_set("key", Source("new"), soft_timeout=20) == "new"

    def test_soft_before_the_load_has_begun(
        self, manager: CacheManager, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A load that begins only when its caller has been served is not lost."""
        cache, late = manager.get_cache("loads"), []
        cache.set("key", "kept", ttl=10, stale_for=100)
        clock.advance(11)
        monkeypatch.setattr(ThreadShell, "spawn", lambda shell, flight, steps, abandon: late.append(steps) or True)
        assert cache.get_or_set("key", lambda: "new", soft_timeout=0) == "kept"
        run(late[0])
        assert cache.get("key") == "new"

    def test_soft_of_those_who_wait(self, loader: Any, clock: ManualClock) -> None:
        """Each caller has a timeout of its own."""
        keep(loader, clock)
        source = Source("new", held=True)
        patient = Call(loader.get_or_set, "key", source)
        assert source.begun.wait(30)
        assert loader.get_or_set("key", source, soft_timeout=0) == "kept"
        assert patient.is_alive()
        source.go.set()
        assert patient.result() == "new"

    def test_hard(self, loader: Any) -> None:
        """Nobody waits longer; the load finishes and stores."""
        source = Source("late", held=True)
        begin = time.monotonic()
        with pytest.raises(TimeoutError, match=r"key.*0\.05 s"):
            loader.get_or_set("key", source, hard_timeout=0.05)
        assert 0.05 <= time.monotonic() - begin < 3
        source.go.set()
        until(lambda: loader.get("key") == "late")
        assert source.calls == 1

    def test_hard_of_those_who_wait(self, loader: Any) -> None:
        """It concerns the caller who gave it, not the load that others lead."""
        source = Source("value", held=True)
        patient = Call(loader.get_or_set, "key", source)
        assert source.begun.wait(30)
        with pytest.raises(TimeoutError):
            loader.get_or_set("key", source, hard_timeout=0.05)
        source.go.set()
        assert patient.result() == "value"

    def test_both(self, loader: Any, clock: ManualClock) -> None:
        """The soft one serves what is kept; without that the hard one is what ends."""
        source = Source("new", held=True)
        with pytest.raises(TimeoutError):
            loader.get_or_set("key", source, soft_timeout=0.01, hard_timeout=0.05)
        source.go.set()
        idle(loader)
        loader.delete("key")
        keep(loader, clock)
        source.go.clear()
        assert loader.get_or_set("key", source, soft_timeout=0.01, hard_timeout=20) == "kept"
        source.go.set()
        idle(loader)

    @pytest.mark.parametrize("way", ["soft", "hard"])
    def test_a_failure_that_nobody_waits_for(
        self, loader: Any, clock: ManualClock, caplog: pytest.LogCaptureFixture, way: str
    ) -> None:
        """It is logged with its exception, and never lost."""
        keep(loader, clock)
        source = Source(ZeroDivisionError("lost"), held=True)
        with caplog.at_level(logging.WARNING, "codomyrmex.cache"):
            if way == "soft":
                loader.get_or_set("key", source, soft_timeout=0)
            else:
                with pytest.raises(TimeoutError):
                    loader.get_or_set("key", source, hard_timeout=0.01)
            source.go.set()
            idle(loader)
        (line,) = caplog.records
        assert "background" in line.message
        assert line.exc_info is not None
        assert isinstance(line.exc_info[1], ZeroDivisionError)
        assert loader.stats.load_failures == 1

    def test_a_failure_that_somebody_got(
        self, loader: Any, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What a caller raises, or is served a kept value for, is not logged."""
        with caplog.at_level(logging.INFO, "codomyrmex.cache"):
            with pytest.raises(ZeroDivisionError):
                loader.get_or_set("key", Source(ZeroDivisionError()), hard_timeout=20)
            keep(loader, clock)
            assert loader.get_or_set("key", Source(ZeroDivisionError()), soft_timeout=20) == "kept"
        assert [] == caplog.records


class TestAhead:
    """`refresh_ahead` and `early_refresh`."""

    def test_when(self, loader: Any, clock: ManualClock) -> None:
        """Before its part of the ttl nothing happens; after it one load, and everyone gets the value that is there."""
        source = Source("first", "second", held=True)
        source.go.set()
        options = {"ttl": 100, "refresh_ahead": 0.8}
        assert loader.get_or_set("key", source, **options) == "first"
        clock.advance(79)
        assert loader.get_or_set("key", source, **options) == "first"
        assert source.calls == 1
        source.go.clear()
        source.begun.clear()
        clock.advance(2)
        assert ["first"] * 5 == [loader.get_or_set("key", source, **options) for _ in range(5)]
        assert source.begun.wait(30)
        assert ["first"] * 5 == [loader.get_or_set("key", source, **options) for _ in range(5)]
        source.go.set()
        idle(loader)
        assert source.calls == 2
        assert loader.get_or_set("key", source, **options) == "second"
        assert loader.ttl("key") == pytest.approx(100, abs=0.01)
        counted = loader.stats
        assert (counted.hits, counted.misses, counted.stale_hits, counted.waits_joined) == (12, 1, 0, 0)

    def test_it_fails(self, loader: Any, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged, not tried again for `retry_after`, and the value is served until its ttl ends."""
        loader.set("key", "first", ttl=100)
        clock.advance(85)
        source = Source(ZeroDivisionError("ahead"))
        with caplog.at_level(logging.WARNING, "codomyrmex.cache"):
            for _ in range(3):
                assert loader.get_or_set("key", source, refresh_ahead=0.8) == "first"
                idle(loader)
        assert source.calls == 1
        assert len(caplog.records) == 1
        clock.advance(11)
        assert loader.get_or_set("key", source, refresh_ahead=0.8) == "first"
        idle(loader)
        assert source.calls == 2
        clock.advance(5)
        assert loader.get("key") is None
        with pytest.raises(ZeroDivisionError):
            loader.get_or_set("key", source, refresh_ahead=0.8)

    def test_its_value_ends_meanwhile(self, loader: Any, clock: ManualClock) -> None:
        """Past the ttl nobody is served the old value: who comes then, waits for the load that is under way."""
        loader.set("key", "old", ttl=100)
        clock.advance(90)
        source = Source("new", held=True)
        assert loader.get_or_set("key", source, refresh_ahead=0.8) == "old"
        assert source.begun.wait(30)
        clock.advance(11)
        assert loader.get("key") is None
        waiter = Call(loader.get_or_set, "key", source, refresh_ahead=0.8)
        until(lambda: waiting(loader) == 1)
        source.go.set()
        assert waiter.result() == "new"
        assert source.calls == 1

    def test_what_never_ends_is_not_refreshed(self, loader: Any) -> None:
        """There is no part of an endless ttl."""
        loader.set("key", "for ever")
        source = Source("new")
        assert loader.get_or_set("key", source, refresh_ahead=0.1, early_refresh=1e9) == "for ever"
        idle(loader)
        assert source.calls == 0

    def test_early_refresh(self, loader: Any, clock: ManualClock) -> None:
        """It begins once cost x beta x -ln(chance) reaches the time that is left, and not before."""

        def slow() -> str:
            time.sleep(0.02)
            return "first"

        loader.get_or_set("key", slow, ttl=100)
        store, source = loader._store, Source("second")
        storage = store.keys.prefix + "key"
        cost = store.codec.decode(storage, loader._driver.get(storage)).cost
        assert 0.02 <= cost < 10
        store.chance = lambda: 1 - math.exp(-2)  # its logarithm is -2
        clock.advance(40)
        beta = 60 / cost / 2
        assert loader.get_or_set("key", source, ttl=100, early_refresh=beta * 0.99) == "first"
        idle(loader)
        assert source.calls == 0
        assert loader.get_or_set("key", source, ttl=100, early_refresh=beta * 1.01) == "first"
        idle(loader)
        assert source.calls == 1
        assert loader.get("key") == "second"

    def test_early_refresh_at_no_chance(self, loader: Any, clock: ManualClock) -> None:
        """Chance may be zero."""
        loader.get_or_set("key", Source("first"), ttl=100)
        loader._store.chance = lambda: 0.0
        source = Source("second")
        clock.advance(99.9)
        assert loader.get_or_set("key", source, early_refresh=1e9) == "first"
        idle(loader)
        assert source.calls == 0

    def test_the_store_draws_its_chances_evenly(self, loader: Any) -> None:
        """From zero up to, and never, one."""
        drawn = [loader._store.chance() for _ in range(2000)]
        assert 0 <= min(drawn) < 0.05
        assert 0.95 < max(drawn) < 1
        loader._store._random_bits = lambda: 2**64 - 1
        assert loader._store.chance() < 1
