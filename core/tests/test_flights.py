"""Single flight, alone: who joins, who is told, who is left; which waits would never end is in test_circles.py."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest
from flight_doubles import LoopDouble, part_of

from codomyrmex.cache import _flights
from codomyrmex.cache._flights import Flight, Flights, Waiting

LEASE = b"LEASE--1"
OTHER = b"LEASE--2"


@pytest.fixture
def flights() -> Flights:
    return Flights()


def entered(flights: Flights, key: str, lease: bytes = LEASE, loop: Any = None) -> Flight:
    """A new flight, which nobody has joined."""
    flight = flights.enter(flights.leading(), key, lease, loop)
    assert flight is not None
    return flight


class TestJoining:
    """Joining, leaving, finishing."""

    def test_one_flight_per_key(self, flights: Flights) -> None:
        """As long as a flight has not started, a second one for its key is not begun; another key's is."""
        first = entered(flights, "key")
        assert flights.enter(flights.leading(), "key", OTHER, None) is None
        assert entered(flights, "another", OTHER) is not first
        assert flights.newest("key") is first
        assert flights.with_lease(LEASE) is first

    def test_who_comes_late_begins_anew(self, flights: Flights) -> None:
        """A flight that has started can't be joined early, and makes way for a younger one; its lease stays known."""
        first = entered(flights, "key")
        assert first.join(early=True)
        first.start()
        assert not first.join(early=True)
        assert first.join()
        second = entered(flights, "key", OTHER)
        assert flights.newest("key") is second
        assert flights.with_lease(LEASE) is first

    def test_joining_what_has_started(self, flights: Flights) -> None:
        """Where only the key counts, a flight that has started is joined rather than replaced."""
        flight = entered(flights, "key")
        flight.start()
        assert flights.enter(flights.leading(), "key", OTHER, None, joins_started=True) is None
        flights.finish(flight, 1)
        assert flights.enter(flights.leading(), "key", OTHER, None, joins_started=True) is not None

    def test_finishing(self, flights: Flights) -> None:
        """Whoever waits gets the outcome, and the first one only; the flight is gone from the table."""
        flight = entered(flights, "key")
        assert flight.join()
        told: list[Any] = []
        flight.tell(lambda: told.append(flight.outcome))
        flights.finish(flight, "first")
        flights.finish(flight, "second")
        flight.tell(lambda: told.append(flight.outcome))
        assert ["first", "first"] == told
        assert flights.newest("key") is None
        assert flights.with_lease(LEASE) is None
        assert not flight.join()

    def test_an_older_flight_takes_no_younger_one_out(self, flights: Flights) -> None:
        """What finishes late removes itself only."""
        first = entered(flights, "key")
        first.start()
        second = entered(flights, "key", OTHER)
        flights.finish(first, 1)
        assert flights.newest("key") is second
        assert flights.with_lease(OTHER) is second
        assert not second.done

    def test_one_that_was_begun_in_vain(self, flights: Flights) -> None:
        """What is broken off between beginning a flight and having it run ends it; what is not, doesn't."""
        begun: list[Flight | None] = []

        def break_off() -> None:
            with flights.leading() as leading:
                begun.append(flights.enter(leading, "key", LEASE, None))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            break_off()
        (first,) = begun
        assert first is not None
        assert first.done
        assert flights.newest("key") is None
        with flights.leading() as leading:
            second = flights.enter(leading, "key", OTHER, None)
        assert second is not None
        assert not second.done

    def test_telling_that_was_broken_off(self, flights: Flights) -> None:
        """If telling those who wait is interrupted, finishing it again tells all, and keeps the first outcome."""
        flight, told = entered(flights, "key"), []

        def wake() -> None:
            told.append("once")
            if len(told) == 1:
                raise KeyboardInterrupt

        flight.tell(wake)
        flight.tell(lambda: told.append("other"))
        with pytest.raises(KeyboardInterrupt):
            flights.finish(flight, "outcome")
        flights.finish(flight, None)
        assert told == ["once", "once", "other"]
        assert flight.outcome == "outcome"
        flights.finish(flight, None)
        assert len(told) == 3

    def test_following(self, flights: Flights) -> None:
        """A flight of somebody else's has one that stands for it, found by its lease and never by its key."""
        flight = flights.follow(flights.leading(), LEASE, None)
        assert flight is not None
        assert flight.started
        assert flights.follow(flights.leading(), LEASE, None) is None
        assert flights.newest(LEASE) is None
        flights.finish(flight, None)
        assert flights.follow(flights.leading(), LEASE, None) is not None


class TestDesertion:
    """A flight whose callers have all gone."""

    def test_it_is_told_once(self, flights: Flights) -> None:
        """The last one who leaves ends it, and nobody joins it afterwards."""
        flight, deserted = entered(flights, "key"), []
        flight.when_deserted = lambda: deserted.append(1)
        assert flight.join()
        assert flight.join()
        flight.leave()
        assert deserted == []
        flight.leave()
        assert deserted == [1]
        assert not flight.join()
        assert not flight.done
        assert flights.enter(flights.leading(), "key", OTHER, None) is not None, "a deserted flight is in nobody's way"

    def test_one_that_is_detached_goes_on(self, flights: Flights) -> None:
        """A caller that leaves it to itself keeps it alive for good."""
        flight, deserted = entered(flights, "key"), []
        flight.when_deserted = lambda: deserted.append(1)
        assert flight.join()
        flight.leave(detach=True)
        assert flight.join()
        flight.leave()
        assert deserted == []

    def test_leaving_after_the_end(self, flights: Flights) -> None:
        """Who leaves a flight that is over, deserts nothing."""
        flight, deserted = entered(flights, "key"), []
        flight.when_deserted = lambda: deserted.append(1)
        assert flight.join()
        assert flight.awaited
        flights.finish(flight, 1)
        flight.leave()
        assert deserted == []

    def test_a_part_keeps_the_whole(self, flights: Flights) -> None:
        """Who waits for a part of a larger flight waits for that, too; both are left together."""
        whole, part, deserted = entered(flights, "whole"), entered(flights, "part", OTHER), []
        part.part_of = whole
        whole.when_deserted = lambda: deserted.append(1)
        assert part.join()
        assert whole.awaited
        flights.finish(part, 1)
        assert not part.join(), "and a join that fails leaves the whole again"
        part.leave()
        assert deserted == [1]


class TestWaking:
    """Threads and several event loops are told at the same time."""

    def test_threads_and_two_loops(self, flights: Flights) -> None:
        """All of them get the one outcome, each where it waits."""
        flight = entered(flights, "key")
        ready, results, homes = threading.Barrier(5, timeout=30), [], []

        def wait_here() -> None:
            there = threading.Event()
            assert flight.join()
            flight.tell(there.set)
            ready.wait()
            assert there.wait(30)
            results.append(flight.outcome)

        async def task(joined: list[int]) -> None:
            loop, thread = asyncio.get_running_loop(), threading.get_ident()
            there: asyncio.Future[None] = loop.create_future()

            def wake() -> None:
                homes.append(threading.get_ident() == thread)
                there.set_result(None)

            assert flight.join()
            flight.tell(wake, loop)
            joined.append(1)
            if len(joined) == 10:
                await asyncio.to_thread(ready.wait)
            await there
            results.append(flight.outcome)

        async def room() -> None:
            joined: list[int] = []
            await asyncio.gather(*(task(joined) for _ in range(10)))

        threads = [threading.Thread(target=wait_here) for _ in range(2)]
        threads += [threading.Thread(target=asyncio.run, args=(room(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait()
        flights.finish(flight, "outcome")
        for thread in threads:
            thread.join(30)
        assert ["outcome"] * 22 == results
        assert [True] * 20 == homes

    def test_one_call_per_loop(self, flights: Flights) -> None:
        """A loop is woken once for all its tasks, and one that is closed keeps nobody else from being woken."""
        flight, there = entered(flights, "key"), []
        closed, alive = LoopDouble(closed=True), LoopDouble()
        for loop in (closed, alive, alive):
            flight.tell(lambda: there.append(1), loop)
        flights.finish(flight, None)
        assert len(alive.calls) == 1
        alive.run()
        assert [1, 1] == there

    def test_finish_or_tell_first(self, flights: Flights) -> None:
        """However `finish` and `tell` meet, nobody is forgotten."""
        for _ in range(200):
            flight, there = Flight("key"), threading.Event()
            barrier = threading.Barrier(2, timeout=30)

            def end(flight: Flight = flight, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                flight.finish(1)

            thread = threading.Thread(target=end)
            thread.start()
            barrier.wait()
            flight.tell(there.set)
            assert there.wait(30)
            thread.join()

    def test_one_leads(self, flights: Flights) -> None:
        """Of many threads that enter at once, one has the flight, and all others find it."""
        barrier, results = threading.Barrier(8, timeout=30), []

        def enter(number: int) -> None:
            barrier.wait()
            flight = flights.enter(flights.leading(), "key", bytes([number]) * 8, None)
            results.append((flight, flights.newest("key")))

        threads = [threading.Thread(target=enter, args=(number,)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (leader,) = [flight for flight, _ in results if flight is not None]
        assert {leader} == {newest for _, newest in results}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_begins_with_nothing(flights: Flights) -> None:
    """A child inherits neither flights, whose threads it hasn't got, nor locks, nor blocked loops."""
    entered(flights, "key")
    held = threading.Event()
    release = threading.Event()

    def hold() -> None:
        with flights._lock, _flights._graph:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    loop = LoopDouble()
    _flights._blocked_by[loop] = [Flight("b")]
    child = os.fork()
    if not child:
        try:
            fine = flights.newest("key") is None and flights.with_lease(LEASE) is None
            fine = fine and entered(flights, "key") is not None and not _flights._blocked_by
            with part_of(Flight("c")), Waiting(Flight("d"), None) as may:
                fine = fine and may
            os._exit(0 if fine else 1)
        finally:
            os._exit(2)
    release.set()
    thread.join()
    del _flights._blocked_by[loop]
    assert os.waitpid(child, 0)[1] == 0
    assert flights.newest("key") is not None
