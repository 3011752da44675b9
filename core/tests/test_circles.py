"""A wait that would never end is not begun; every other one is."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import threading
from typing import Any

from flight_doubles import LoopDouble, part_of

from codomyrmex.cache import _flights
from codomyrmex.cache._background import Background
from codomyrmex.cache._flights import Flight, Waiting, computing
from codomyrmex.cache._shells import ThreadShell


class TestCircles:
    """A wait that would never end is not begun; every other one is."""

    def test_outside(self) -> None:
        """Who computes nothing and blocks no loop may wait for anything."""
        with Waiting(Flight("key"), None) as may:
            assert may

    def test_own_key(self) -> None:
        """A flight can't wait for itself, nor can what it calls."""
        flight, inner = Flight("a"), Flight("b")
        with part_of(flight), Waiting(flight, None) as may:
            assert not may
        with part_of(flight, inner), Waiting(flight, None) as may:
            assert not may

    def test_two_keys(self) -> None:
        """Of two that want to wait for each other, the second may not; once the first has given up, it may."""
        one, two = Flight("a"), Flight("b")
        with part_of(one), Waiting(two, None) as may:
            assert may
            with part_of(two), Waiting(one, None) as closing:
                assert not closing
        with part_of(two), Waiting(one, None) as may:
            assert may

    def test_a_long_way_round(self) -> None:
        """A circle of many is one, and so is a way back into its middle."""
        ring = [Flight(number) for number in range(20)]
        with contextlib.ExitStack() as waits:
            for this, following in itertools.pairwise(ring):
                with part_of(this):
                    assert waits.enter_context(Waiting(following, None))
            with part_of(ring[-1]), Waiting(ring[7], None) as may:
                assert not may
            with part_of(Flight("outside")), Waiting(ring[0], None) as may:
                assert may
        with part_of(ring[-1]), Waiting(ring[0], None) as may:
            assert may

    def test_two_waits_of_one(self) -> None:
        """A computation with several threads or tasks waits for several at once; each of them counts."""
        one, two, three = Flight("a"), Flight("b"), Flight("c")
        with part_of(one), Waiting(two, None), Waiting(three, None):
            for other in (two, three):
                with part_of(other), Waiting(one, None) as may:
                    assert not may

    def test_what_is_over_waits_for_nobody(self) -> None:
        """A flight that is done closes no circle."""
        one, two = Flight("a"), Flight("b")
        with part_of(one), Waiting(two, None):
            one.finish(1)
            with part_of(two), Waiting(one, None) as may:
                assert may

    def test_a_blocked_loop(self) -> None:
        """A loop that blocks can't wait for a flight that runs on it, though nothing on it is computing."""
        loop, other = LoopDouble(), LoopDouble()
        with Waiting(Flight("a", loop=loop), loop) as may:
            assert not may
        with Waiting(Flight("a", loop=other), loop) as may:
            assert may

    def test_through_a_blocked_loop(self) -> None:
        """A flight on a loop that is blocked waits for whatever the loop waits for."""
        loop = LoopDouble()
        on_loop, in_thread = Flight("a", loop=loop), Flight("b")
        with Waiting(in_thread, loop) as may:
            assert may
            with part_of(in_thread), Waiting(on_loop, None) as closing:
                assert not closing
        with part_of(in_thread), Waiting(on_loop, None) as may:
            assert may
        with part_of(in_thread), Waiting(on_loop, None), Waiting(in_thread, loop) as may:
            assert not may

    def test_two_loops_that_block_each_other(self) -> None:
        """Each is blocked by what runs on the other."""
        left, right = LoopDouble(), LoopDouble()
        with Waiting(Flight("a", loop=right), left) as may:
            assert may
            with Waiting(Flight("b", loop=left), right) as closing:
                assert not closing
            with Waiting(Flight("c"), right) as third:
                assert third

    def test_a_wait_is_forgotten(self) -> None:
        """Nothing is left of a wait, however it ends."""
        one, two, loop = Flight("a"), Flight("b"), LoopDouble()
        with contextlib.suppress(ZeroDivisionError), part_of(one), Waiting(two, loop) as may:
            assert may
            raise ZeroDivisionError
        assert one._waits == []
        assert loop not in _flights._blocked_by

    def test_a_load_in_the_background_is_no_part_of_its_caller(self) -> None:
        """Who starts a load and goes on doesn't wait for it: that load may wait for the one that started it."""
        shell, caller, behind = ThreadShell(Background()), Flight("a"), Flight("b")
        seen: list[tuple[Flight, ...]] = []
        over = threading.Event()

        def steps() -> Any:
            yield shell.call, ((behind,), lambda: seen.append(computing.get()))

        with part_of(caller):
            assert shell.spawn(behind, steps(), over.set)
        assert over.wait(30)
        assert [(behind,)] == seen
        with part_of(*seen[0]), Waiting(caller, None) as may:
            assert may

    def test_what_a_computation_calls_in_other_threads(self) -> None:
        """A thread that gets its caller's context is part of the computation, also with a loop of its own."""
        flight, results = Flight("a"), []

        async def inside() -> None:
            with Waiting(flight, None) as may:
                results.append(may)

        with part_of(flight):
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(asyncio.run, inside()))
            thread.start()
            thread.join(30)
        assert [False] == results
