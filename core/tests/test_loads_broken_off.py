"""Loads that don't end as they should: circles, cancellations, interrupts, leaders that hang."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from loading import Call, InRoom, Room, Source, until, waiting

from codomyrmex.cache import Cache, CacheManager
from codomyrmex.cache.testing import ManualClock

SOON = 5.0
"""Seconds after which something that should not wait at all, waits for a lease."""


class OwnError(BaseException):
    """No `Exception`, and nothing that an event loop knows."""


class TestRecursion:
    """A wait that would close a circle is not begun."""

    def test_own_key(self, loader: Any) -> None:
        """A factory that asks for its own key computes it on the spot; the load outside stores."""
        begin = time.monotonic()
        outer = Source("inner")

        def factory() -> str:
            return str(loader.get_or_set("key", outer)) + " and outer"

        assert loader.get_or_set("key", factory) == "inner and outer"
        assert time.monotonic() - begin < SOON
        assert loader.get("key") == "inner and outer"
        assert outer.calls == 1

    def test_what_is_computed_in_a_circle_is_not_stored(self, loader: Any) -> None:
        """The value inside goes to whoever asked for it, and nowhere else."""
        seen = []

        def factory() -> str:
            loader.get_or_set("key", Source("inner"))
            seen.append(loader.get("key"))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            loader.get_or_set("key", factory)
        assert [None] == seen
        assert loader.get("key") is None

    @pytest.mark.parametrize("tie", ["same cache", "another cache"])
    def test_mutual_keys_in_two_threads(
        self, loader: Any, manager: CacheManager, room: Room, tie: str, request: pytest.FixtureRequest
    ) -> None:
        """Two loads that want each other's key both end, and both are stored."""
        other = loader
        if tie == "another cache":
            sync = isinstance(loader, Cache)
            other = manager.get_cache("other") if sync else InRoom(manager.get_async_cache("other"), room)
        both = threading.Barrier(2, timeout=30)
        begin = time.monotonic()

        def load(here: Any, mine: str, there: Any, theirs: str) -> Any:
            def factory() -> str:
                both.wait()
                return mine + there.get_or_set(theirs, Source(theirs + " alone"))

            return here.get_or_set(mine, factory)

        calls = [Call(load, loader, "a", other, "b"), Call(load, other, "b", loader, "a")]
        results = {call.result() for call in calls}
        assert time.monotonic() - begin < SOON
        # One of the two waits for the other, which computes for itself.
        assert results in ({"ab alone", "bab alone"}, {"ba alone", "aba alone"})
        assert {loader.get("a"), other.get("b")} == results

    def test_through_a_blocked_loop(self, manager: CacheManager, room: Room) -> None:
        """A coroutine that calls synchronous code which waits for a load on its own loop: computed on the spot."""
        sync, view = manager.get_cache("loads"), manager.get_async_cache("loads")
        begin = time.monotonic()

        async def both() -> tuple[Any, Any]:
            started = asyncio.Event()

            async def slow() -> str:
                started.set()
                await asyncio.sleep(0.01)
                return "slow"

            task = asyncio.create_task(view.get_or_set("key", slow))
            await started.wait()
            inside = sync.get_or_set("key", Source("on the spot"))  # blocks the loop, and slow() with it
            return inside, await task

        assert room.do(both) == ("on the spot", "slow")
        assert time.monotonic() - begin < SOON
        assert sync.get("key") == "slow"

    def test_a_thread_that_needs_the_loop_that_waits_for_it(self, manager: CacheManager, room: Room) -> None:
        """A load in a thread that asks for one on a loop which is blocked by waiting for that thread."""
        sync, view = manager.get_cache("loads"), manager.get_async_cache("loads")
        blocked, on_loop = threading.Event(), threading.Event()
        begin = time.monotonic()

        def in_thread() -> str:
            assert on_loop.wait(30)
            until(lambda: waiting(sync, "in thread") == 2)  # the loop waits for this load
            blocked.set()
            return "thread and " + sync.get_or_set("on loop", Source("on the spot"))

        caller = Call(sync.get_or_set, "in thread", in_thread)
        until(lambda: sync.explain("in thread").loading)

        async def blocking() -> str:
            on_loop.set()
            return "loop and " + sync.get_or_set("in thread", Source("never"))

        assert room.do(view.get_or_set, "on loop", blocking) == "loop and thread and on the spot"
        assert caller.result() == "thread and on the spot"
        assert blocked.is_set()
        assert time.monotonic() - begin < SOON

    def test_a_loop_inside_a_factory(self, manager: CacheManager) -> None:
        """A synchronous factory that runs an event loop, whose task asks for the factory's own key."""
        sync, view = manager.get_cache("loads"), manager.get_async_cache("loads")

        async def inside() -> Any:
            return await view.get_or_set("key", Source("inner"))

        begin = time.monotonic()
        assert sync.get_or_set("key", lambda: asyncio.run(inside())) == "inner"
        assert time.monotonic() - begin < SOON

    def test_other_keys_are_loaded_as_usual(self, loader: Any) -> None:
        """A factory may load what it needs, and shares it."""
        inner = Source("inner")
        assert loader.get_or_set("key", lambda: loader.get_or_set("part", inner) + "!") == "inner!"
        assert loader.get_or_set("part", inner) == "inner"
        assert inner.calls == 1

    @pytest.mark.parametrize("options", [{"hard_timeout": 20}, {"soft_timeout": 0}], ids=str)
    def test_own_key_in_a_thread_of_its_own(self, loader: Any, options: dict[str, Any]) -> None:
        """A load that runs apart from its caller is part of the same circle."""
        begin = time.monotonic()

        def factory() -> str:
            return loader.get_or_set("key", Source("inner"), **options) + " and outer"

        assert loader.get_or_set("key", factory, **options) == "inner and outer"
        assert time.monotonic() - begin < SOON

    def test_a_background_load_may_ask_for_what_started_it(self, loader: Any, clock: ManualClock) -> None:
        """A factory starts a refresh in the background which needs the factory's own value: it gets the stored one."""
        loader.set("part", "old part", ttl=100)
        clock.advance(90)
        refreshed = threading.Event()

        def part() -> Any:
            value = loader.get_or_set("whole", Source("never"))
            refreshed.set()
            return value

        def whole() -> str:
            return "whole of " + loader.get_or_set("part", part, ttl=100, refresh_ahead=0.8)

        assert loader.get_or_set("whole", whole) == "whole of old part"
        assert refreshed.wait(30)
        until(lambda: loader.get("part") == "whole of old part")


class TestCancellation:
    """No caller inherits another's cancellation."""

    def test_a_leader_that_is_cancelled(self, manager: CacheManager, room: Room) -> None:
        """The load goes on for those who wait; cancelled it is only when they have all gone."""
        view = manager.get_async_cache("loads")

        async def test() -> None:
            calls, cancelled = 0, 0
            go, begun = asyncio.Event(), asyncio.Event()

            async def factory() -> str:
                nonlocal calls, cancelled
                calls += 1
                begun.set()
                try:
                    await go.wait()
                except asyncio.CancelledError:
                    cancelled += 1
                    raise
                return "value"

            tasks = [asyncio.create_task(view.get_or_set("key", factory)) for _ in range(5)]
            await begun.wait()
            while waiting(view) < 5:
                await asyncio.sleep(0)
            for task in tasks[:3]:
                task.cancel()
            assert {True} == {isinstance(one, asyncio.CancelledError) for one in await settled(tasks[:3])}
            assert cancelled == 0
            go.set()
            assert ["value"] * 2 == await asyncio.gather(*tasks[3:])
            assert (calls, cancelled) == (1, 0)
            # And now nobody is left.
            await view.delete("key")
            go.clear()
            begun.clear()
            tasks = [asyncio.create_task(view.get_or_set("key", factory)) for _ in range(3)]
            await begun.wait()
            for task in tasks:
                task.cancel()
            await settled(tasks)
            while not cancelled:
                await asyncio.sleep(0)
            while (await view.explain("key")).loading:
                await asyncio.sleep(0)
            assert await view.get_or_set("key", Source("next")) == "next"

        room.do(test)

    def test_a_caller_on_another_loop_keeps_it_alive(self, manager: CacheManager, room: Room) -> None:
        """A thread waits for a load whose own callers have all been cancelled: it goes on."""
        view, sync = manager.get_async_cache("loads"), manager.get_cache("loads")
        source = Source("value", held=True)
        task: Any = None

        async def lead() -> None:
            nonlocal task
            task = asyncio.create_task(view.get_or_set("key", lambda: asyncio.to_thread(source)))

        room.do(lead)
        assert source.begun.wait(30)
        waiter = Call(sync.get_or_set, "key", Source("never"))
        until(lambda: waiting(sync) == 2)
        room.loop.call_soon_threadsafe(task.cancel)
        until(task.done)
        source.go.set()
        assert waiter.result() == "value"

    def test_a_loop_that_ends(self, manager: CacheManager) -> None:
        """A load whose event loop is torn down leaves its waiters in other threads to load for themselves."""
        view, sync = manager.get_async_cache("loads"), manager.get_cache("loads")
        loop, begun = Room(), threading.Event()

        async def never() -> None:
            begun.set()
            await asyncio.Event().wait()

        leader = Call(loop.do, view.get_or_set, "key", never)
        assert begun.wait(30)
        waiter = Call(sync.get_or_set, "key", Source("mine"))
        until(lambda: waiting(sync) == 2)
        begin = time.monotonic()
        loop.close()
        assert waiter.result() == "mine"
        assert time.monotonic() - begin < SOON
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - the cancellation, as a thread sees it
            leader.result()
        assert "Cancelled" in type(caught.value).__name__

    @pytest.mark.parametrize("error", [asyncio.CancelledError, OwnError])
    def test_a_factory_that_is_cancelled_itself(
        self, manager: CacheManager, room: Room, error: type[BaseException]
    ) -> None:
        """What its leader's factory raises, the leader raises, once; the others load for themselves."""
        view = manager.get_async_cache("loads")
        calls = 0

        async def test() -> None:
            go, begun = asyncio.Event(), asyncio.Event()

            async def broken() -> None:
                nonlocal calls
                calls += 1
                begun.set()
                await go.wait()
                raise error

            leader = asyncio.create_task(view.get_or_set("key", broken))
            await begun.wait()
            waiters = [asyncio.create_task(view.get_or_set("key", Source("mine"))) for _ in range(3)]
            while waiting(view) < 4:
                await asyncio.sleep(0)
            go.set()
            assert ["mine"] * 3 == await asyncio.gather(*waiters)
            (raised,) = await settled([leader])
            assert isinstance(raised, error)

        room.do(test)
        assert calls == 1


class TestInterrupts:
    """A factory that raises what is no `Exception`."""

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OwnError])
    @pytest.mark.parametrize("options", [{}, {"hard_timeout": 20}, {"soft_timeout": 20}], ids=str)
    def test_it_concerns_the_leader_only(
        self, manager: CacheManager, error: type[BaseException], options: dict[str, Any]
    ) -> None:
        """It comes out of the leader's call, once; those who wait go on with a load of their own."""
        cache = manager.get_cache("loads")
        source = Source(error(), held=True)
        leader = Call(cache.get_or_set, "key", source, **options)
        assert source.begun.wait(30)
        waiters = [Call(cache.get_or_set, "key", Source("mine")) for _ in range(3)]
        until(lambda: waiting(cache) == 4)
        source.go.set()
        assert ["mine"] * 3 == [waiter.result() for waiter in waiters]
        with pytest.raises(error):
            leader.result()
        assert source.calls == 1
        assert cache.stats.load_failures == 1
        assert cache.get("key") == "mine"

    def test_it_leaves_no_lease(self, manager: CacheManager, clock: ManualClock) -> None:
        """Nothing is left of such a load, and a kept value stays."""
        cache = manager.get_cache("loads")
        cache.set("key", "kept", ttl=1, stale_for=100)
        clock.advance(2)
        with pytest.raises(KeyboardInterrupt):
            cache.get_or_set("key", Source(KeyboardInterrupt()))
        explained = cache.explain("key")
        assert (explained.loading, explained.state) == (False, "stale")


class TestLeases:
    """A leader that hangs stops nobody for longer than its lease."""

    def test_taken_over(self, loader: Any, clock: ManualClock) -> None:
        """After its lease somebody else loads; what the first brings then is not stored."""
        hung = Source("too late", held=True)
        first = Call(loader.get_or_set, "key", hung, lease=10)
        assert hung.begun.wait(30)
        clock.advance(11)
        assert loader.get_or_set("key", Source("second")) == "second"
        hung.go.set()
        assert first.result() == "too late"
        assert loader.get("key") == "second"

    def test_stored_if_nobody_has_taken_over(self, loader: Any, clock: ManualClock) -> None:
        """A load that takes longer than its lease still stores."""
        slow = Source("late", held=True)
        first = Call(loader.get_or_set, "key", slow, lease=10)
        assert slow.begun.wait(30)
        clock.advance(50)
        slow.go.set()
        assert first.result() == "late"
        assert loader.get("key") == "late"

    def test_those_who_wait_go_on(self, loader: Any) -> None:
        """Whoever waits for it when its lease ends, goes on by themselves, one load for all."""
        hung, mine = Source("too late", held=True), Source("mine")
        first = Call(loader.get_or_set, "key", hung, lease=0.2)
        assert hung.begun.wait(30)
        begin = time.monotonic()
        waiters = [Call(loader.get_or_set, "key", mine) for _ in range(10)]
        # The clock of the cache stands still: their patience is what ends.
        until(lambda: time.monotonic() - begin > 0.25)
        loader._store.ttl.clock.advance(1)
        assert ["mine"] * 10 == [waiter.result() for waiter in waiters]
        assert mine.calls == 1
        hung.go.set()
        assert first.result() == "too late"
        assert loader.get("key") == "mine"


def test_a_factory_that_returns_a_coroutine(manager: CacheManager) -> None:
    """A coroutine function by mistake: a clear error, nothing stored, no warning of one never awaited."""
    cache = manager.get_cache("loads")

    async def factory() -> int:
        return 1

    with pytest.raises(TypeError, match="get_async_cache"):
        cache.get_or_set("key", factory)
    assert cache.exists("key") is False
    assert cache.explain("key").loading is False
    assert cache.stats.load_failures == 1


async def settled(tasks: list[Any]) -> list[Any]:
    """Results and errors, cancellations among them."""
    return await asyncio.gather(*tasks, return_exceptions=True)
