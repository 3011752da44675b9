"""Loads while the backend fails, and while the cache is closed: the factory runs, and nothing is lost in silence."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dict_driver import JSON, FailingDriver, managed
from loading import Call, Room, Source, until

from codomyrmex.cache import CacheConnectionError, CacheError, CacheFullError, CacheManager, _store
from codomyrmex.cache.testing import ManualClock


class CountingDriver(FailingDriver):
    """Fails from its ``fails_at``-th call on (counted from 0), and counts those that failed; purges in peace."""

    calls = 0
    failed = 0
    fails_at: float = float("inf")
    error: type[CacheError] = CacheConnectionError

    def check(self) -> None:
        if threading.current_thread().name == "codomyrmex-cache-reaper":
            return
        self.calls += 1
        reads = sys._getframe(1).f_code.co_name in ("get_many", "scan")
        if self.down or (self.calls > self.fails_at and not (reads and self.error is CacheFullError)):
            self.failed += 1
            raise self.error("connection refused") from ConnectionRefusedError(111)


@pytest.fixture(params=["raise", "degrade"])
def on_error(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def manager(clock: ManualClock, on_error: str) -> Iterator[CacheManager]:
    with managed({"defaults": {**JSON, "on_error": on_error}}, CountingDriver, clock=clock) as manager:
        yield manager


class TestDegraded:
    """A backend that fails costs one wait, then the factory runs."""

    def test_one_call_of_the_driver(self, loader: Any) -> None:
        """One deadline, not three; the value is returned, the failure counted."""
        driver = loader._driver
        driver.down = True
        source = Source("value")
        for number in range(1, 4):
            assert loader.get_or_set("key", source, tags=["tag"], refresh_ahead=0.5) == "value"
            assert driver.failed == number
            assert loader.stats.errors == number
            assert loader.get_or_set("key", source) == "value"
            driver.failed = number
            loader._store.recorder.errors.add(-1)
        assert source.calls == 6
        assert loader.stats.misses == 6

    @pytest.mark.parametrize("error", [CacheConnectionError, CacheFullError])
    @pytest.mark.parametrize("state", ["absent", "stale", "tagged"])
    @pytest.mark.parametrize("step", range(8))
    def test_it_fails_at_any_step(
        self, loader: Any, clock: ManualClock, step: int, state: str, error: type[CacheError]
    ) -> None:
        """Whichever call fails, the factory is called once, its value returned, and the driver called no more."""
        driver = loader._driver
        if state == "stale":
            loader.set("key", "old", ttl=10, stale_for=100)
            clock.advance(11)
        driver.error, driver.calls, driver.fails_at = error, 0, step
        source = Source("value")

        def factory(context: Any) -> Any:
            context.tags |= {"late"} if state == "tagged" else set()
            return source()

        assert loader.get_or_set("key", factory, tags=["given"] if state == "tagged" else []) == "value"
        assert source.calls == 1
        assert driver.failed <= 1, "a load that goes on asking a dead backend waits more than once"
        assert loader.stats.errors == driver.failed
        driver.fails_at = float("inf")
        clock.advance(1000)
        assert loader.get_or_set("key", Source("again")) in ("again", "value")
        assert loader.get("key") is not None

    @pytest.mark.parametrize("step", range(5))
    def test_both_fail(self, loader: Any, clock: ManualClock, step: int) -> None:
        """Of a factory that fails as well the error comes out, or the kept value if it was seen."""
        driver = loader._driver
        loader.set("key", "old", ttl=10, stale_for=100)
        clock.advance(11)
        driver.calls, driver.fails_at = 0, step
        try:
            served = loader.get_or_set("key", Source(ZeroDivisionError()))
        except ZeroDivisionError:
            served = None
        assert served in ("old", None)
        assert driver.failed <= 1

    def test_callers_of_one_outage_share_a_load(self, loader: Any) -> None:
        """Also without a store there is one load per key; of two outages two."""
        loader._driver.down = True
        source = Source("value", held=True)
        callers = [Call(loader.get_or_set, "key", source) for _ in range(8)]
        until(lambda: loader._driver.failed == 8)
        until(lambda: sum(one._callers for one in loader._store.flights._newest.values()) == 8)
        other = Call(loader.get_or_set, "another", Source("other"))
        assert other.result() == "other"
        loader._driver.down = False
        assert loader.get("key") is None
        loader._driver.down = True
        assert loader.get_or_set("key", Source("newer")) == "newer"
        source.go.set()
        assert ["value"] * 8 == [caller.result() for caller in callers]
        assert source.calls == 1
        loader._driver.down = False
        assert loader.get("key") is None, "what was loaded without the store is not stored"

    def test_one_line_per_outage(self, loader: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Its beginning is a warning, its end a line; a hundred failures in between are none."""
        with caplog.at_level(logging.INFO, "codomyrmex.cache"):
            for _ in range(2):
                loader._driver.down = True
                for number in range(10):
                    loader.get_or_set(f"key:{number}", Source("value"))
                loader._driver.down = False
                loader.get_or_set("key", Source("value"))
        assert ["WARNING", "INFO"] * 2 == [record.levelname for record in caplog.records]

    def test_a_backend_that_comes_back_during_the_load(self, loader: Any) -> None:
        """The next load stores again."""
        loader._driver.down = True
        source = Source("value", held=True)
        caller = Call(loader.get_or_set, "key", source)
        assert source.begun.wait(30)
        loader._driver.down = False
        source.go.set()
        assert caller.result() == "value"
        assert loader.get_or_set("key", Source("stored")) == "stored"
        assert loader.get("key") == "stored"

    def test_an_invalidation_still_raises(self, loader: Any) -> None:
        """A load degrades, an invalidation never."""
        loader._driver.down = True
        assert loader.get_or_set("key", Source("value")) == "value"
        with pytest.raises(CacheError):
            loader.delete("key")

    def test_a_load_in_the_background(self, loader: Any, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """A refresh ahead that meets a dead backend harms nobody, and is seen in the counters."""
        loader.set("key", "value", ttl=100)
        clock.advance(90)
        source = Source("new", held=True)
        assert loader.get_or_set("key", source, refresh_ahead=0.5) == "value"
        assert source.begun.wait(30)
        loader._driver.down = True
        source.go.set()
        until(lambda: not loader._store.background._running)
        assert loader.stats.errors == 1
        loader._driver.down = False
        assert loader.get("key") == "value"


class TestClosing:
    """Loads in the background end with the cache, never in silence."""

    def test_a_thread_finishes(self, manager: CacheManager) -> None:
        """`close` waits for it, and what it brings is stored or not, but it is over."""
        cache, source = manager.get_cache("loads"), Source("value", held=True)
        with pytest.raises(TimeoutError):
            cache.get_or_set("key", source, hard_timeout=0.01)
        closing = Call(cache.close)
        until(lambda: cache._store.background.closed)
        assert closing.is_alive()
        source.go.set()
        closing.result()
        assert not cache._store.background._running

    def test_a_thread_that_does_not_finish(
        self, manager: CacheManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is waited for a bounded time, and said to be still running."""
        monkeypatch.setattr(_store, "PATIENCE", 0.05)
        cache, source = manager.get_cache("loads"), Source("value", held=True)
        with pytest.raises(TimeoutError):
            cache.get_or_set("key", source, hard_timeout=0.01)
        with caplog.at_level(logging.WARNING, "codomyrmex.cache"):
            cache.close()
        (line,) = caplog.records
        assert "1 loads were still running" in line.message
        source.go.set()
        until(lambda: not cache._store.background._running)

    def test_a_task_is_cancelled(self, manager: CacheManager, room: Room) -> None:
        """`close` cancels it and waits for that."""
        view, told = manager.get_async_cache("loads"), []

        async def test() -> None:
            begun = asyncio.Event()

            async def factory() -> None:
                begun.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    told.append("cancelled")
                    raise

            with pytest.raises(TimeoutError):
                await view.get_or_set("key", factory, hard_timeout=0.01)
            await begun.wait()
            await view.close()
            assert told == ["cancelled"]

        room.do(test)

    def test_callers_of_a_load_that_is_cancelled_so(self, manager: CacheManager, room: Room) -> None:
        """Who still waits is told that the cache is closed; nothing is computed again."""
        view, calls = manager.get_async_cache("loads"), []

        async def test() -> list[Any]:
            begun = asyncio.Event()

            async def factory() -> None:
                calls.append(1)
                begun.set()
                await asyncio.Event().wait()

            tasks = [asyncio.create_task(view.get_or_set("key", factory)) for _ in range(3)]
            await begun.wait()
            await view.close()
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)

        for error in room.do(test):
            assert isinstance(error, CacheError)
            assert "closed" in str(error)
        assert calls == [1]

    def test_a_closed_cache_loads_nothing(self, loader: Any) -> None:
        """Not even its factory is called."""
        loader.close()
        source = Source("value")
        with pytest.raises(CacheError, match="closed"):
            loader.get_or_set("key", source)
        assert source.calls == 0

    def test_no_more_threads(self, manager: CacheManager, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no thread can be started the caller loads for itself; a refresh ahead is left out."""
        cache, clock = manager.get_cache("loads"), manager._clock

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert cache.get_or_set("key", Source("value"), 100, hard_timeout=5) == "value"
        assert isinstance(clock, ManualClock)
        clock.advance(90)
        source = Source("new")
        assert cache.get_or_set("key", source, 100, refresh_ahead=0.5) == "value"
        assert source.calls == 0
        assert not cache._store.background._running
        assert cache.get_or_set("key", Source("never")) == "value"
