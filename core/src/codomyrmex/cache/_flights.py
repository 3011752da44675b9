"""Single flight: who computes what in this process, who waits for it, and what they all get.

Knows nothing of caches, threads or event loops. A `Flight` is one computation that is under way. Whoever wants its
outcome joins it and is told when it is there; a flight whose callers have all gone is told that too. Every flight
knows which others its own computation waits for, and every event loop which flights block it: `Waiting` begins no
wait that would close a circle.
"""

from __future__ import annotations

import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol


class Loop(Protocol):
    """What is needed of an event loop."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """Call ``callback(*args)`` in the loop, soon."""
        ...


class Flight:
    """One computation under way.

    Args:
        key: What is computed.
        lease: A token of its own, by which others may recognise it.
        loop: The event loop that it runs on, None for a thread.

    Attributes:
        broken: What ended its computation if that was no `Exception`: it concerns whoever leads it, nobody who waits.
        started: It may have looked at its source already: who comes now has to find out whether that was too early.
        parts: What there is of the outcome already, for those who want it as it comes; None if it comes as a whole.
        stamp: What its source depends on, as it was before it started; for whoever has to find that out.
        outcome: What everybody gets; to be read once `done`.
        done: It has ended.
        detached: It goes on when nobody waits for it any more.
        part_of: A larger one that computes it together with others; who waits for this one waits for that, too.
        when_deserted: Called once, when nobody waits for it any more and it is not detached.
    """

    __slots__ = (
        "_callers",
        "_deserted",
        "_lock",
        "_rooms",
        "_told",
        "_waits",
        "_wakes",
        "broken",
        "detached",
        "done",
        "key",
        "lease",
        "loop",
        "outcome",
        "part_of",
        "parts",
        "stamp",
        "started",
        "when_deserted",
    )

    def __init__(self, key: Hashable, lease: bytes = b"", loop: Loop | None = None) -> None:
        self.key = key
        self.lease = lease
        self.loop = loop
        self.started = False
        self.broken: BaseException | None = None
        self.stamp: Any = None
        self.outcome: Any = None
        self.done = False
        self.detached = False
        self.part_of: Flight | None = None
        self.parts: Any = None
        self.when_deserted: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._callers = 0
        self._deserted = False
        self._told = False
        self._wakes: list[Callable[[], object]] = []
        self._rooms: dict[Loop, list[Callable[[], object]]] = {}
        self._waits: list[Flight] = []

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for it, or waited until it was done."""
        return self._callers > 0

    def join(self, *, early: bool = False) -> bool:
        """Wait for it from now on, until `leave`; False if it is over, deserted or, ``early``, started already."""
        if self.part_of is not None and not self.part_of.join():
            return False
        with self._lock:
            joined = not (self._deserted or self.done or (early and self.started))
            self._callers += joined
        if self.part_of is not None and not joined:
            self.part_of.leave()
        return joined

    def leave(self, *, detach: bool = False) -> None:
        """Wait no longer; ``detach`` lets it go on without callers."""
        if self.part_of is not None:
            self.part_of.leave(detach=detach)
        with self._lock:
            self._callers -= 1
            self.detached = self.detached or detach
            if self._callers or self.detached or self.done or self._deserted:
                return
            self._deserted = True
        if self.when_deserted is not None:
            self.when_deserted()

    def start(self) -> None:
        """Say that it looks at its source from now on."""
        with self._lock:
            self.started = True

    def finish(self, outcome: Any) -> None:
        """Give everybody their outcome; only the first one counts. To be called again if it was interrupted."""
        with self._lock:
            if not self.done:
                self.outcome = outcome
                self.done = True
        if self._told:
            return
        for wake in self._wakes:  # nobody is added once it is done
            wake()
        for loop, inside in self._rooms.items():
            try:
                loop.call_soon_threadsafe(_call_all, inside)
            except RuntimeError:  # the loop is closed, and nobody waits there any more
                continue
        self._told = True

    def tell(self, wake: Callable[[], object], loop: Loop | None = None) -> None:
        """Have ``wake`` called once it is done, now if it is: in ``loop``, or by whoever finishes it.

        It may be called more than once.
        """
        with self._lock:
            if not self.done:
                (self._wakes if loop is None else self._rooms.setdefault(loop, [])).append(wake)
                return
        wake()


def _call_all(wakes: Iterable[Callable[[], object]]) -> None:
    for wake in wakes:
        wake()


class Leading:
    """Who begins flights, as a context manager: what is broken off before they run by themselves ends them.

    A signal's handler may raise anywhere, also where a flight has just been entered in the table and nobody is bound
    yet to finish it: whoever joined it would wait for ever.

    Args:
        table: Where they are entered.

    Attributes:
        flights: Those that have been begun.
    """

    __slots__ = ("_table", "flights")

    def __init__(self, table: Flights) -> None:
        self._table = table
        self.flights: list[Flight] = []

    def __enter__(self) -> Leading:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for flight in self.flights:
                self._table.finish(flight, None)


class Flights:
    """The flights of one cache, by what they compute and by their lease."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[Hashable, Flight] = {}
        self._by_lease: dict[bytes, Flight] = {}
        _tables.add(self)

    def newest(self, key: Hashable) -> Flight | None:
        """The flight that began last for ``key``."""
        return self._newest.get(key)

    def with_lease(self, lease: bytes) -> Flight | None:
        """The flight that holds ``lease``."""
        return self._by_lease.get(lease)

    def leading(self) -> Leading:
        """For whoever begins flights."""
        return Leading(self)

    def enter(
        self, leading: Leading, key: Hashable, lease: bytes, loop: Loop | None, *, joins_started: bool = False
    ) -> Flight | None:
        """A new flight for ``key``, in place of one that has started; None if there is one to join.

        Args:
            leading: Who begins it.
            key: What it computes.
            lease: Its token.
            loop: The event loop that it will run on.
            joins_started: One that has started can be joined as well.
        """
        with self._lock:
            there = self._newest.get(key)
            if there is not None and not there.done and not there._deserted and (joins_started or not there.started):
                return None
            flight = Flight(key, lease, loop)
            leading.flights.append(flight)
            self._newest[key] = self._by_lease[lease] = flight
            return flight

    def follow(self, leading: Leading, lease: bytes, loop: Loop | None) -> Flight | None:
        """A flight that stands for somebody else's with ``lease``; None if there is one."""
        with self._lock:
            if lease in self._by_lease:
                return None
            flight = Flight(lease, lease, loop)
            flight.started = True
            leading.flights.append(flight)
            self._by_lease[lease] = flight
            return flight

    def finish(self, flight: Flight, outcome: Any) -> None:
        """Take ``flight`` out and give its callers their ``outcome``."""
        with self._lock:
            if self._by_lease.get(flight.lease) is flight:
                del self._by_lease[flight.lease]
            if self._newest.get(flight.key) is flight:
                del self._newest[flight.key]
        flight.finish(outcome)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._newest = {}
        self._by_lease = {}


computing: contextvars.ContextVar[tuple[Flight, ...]] = contextvars.ContextVar("codomyrmex.cache.computing", default=())
"""The flights whose computation the current code is part of."""


class Waiting:
    """A wait for ``flight``, as a context manager; entering it says whether it may begin.

    Args:
        flight: What is waited for.
        blocked: The event loop that does nothing else meanwhile; None if none is blocked.
    """

    __slots__ = ("_begun", "_blocked", "_flight", "_waiters")

    def __init__(self, flight: Flight, blocked: Loop | None) -> None:
        self._flight = flight
        self._blocked = blocked
        self._waiters = computing.get()
        self._begun = False

    def __enter__(self) -> bool:
        waiters, blocked = self._waiters, self._blocked
        if not waiters and blocked is None:
            return True  # nobody waits for whoever has no flight, and blocks no loop
        with _graph:
            if _reaches(self._flight, waiters, blocked):
                return False
            for waiter in waiters:
                waiter._waits.append(self._flight)
            if blocked is not None:
                _blocked_by.setdefault(blocked, []).append(self._flight)
            self._begun = True
        return True

    def __exit__(self, *_: object) -> None:
        if not self._begun:
            return
        with _graph:
            for waiter in self._waiters:
                waiter._waits.remove(self._flight)
            if self._blocked is not None:
                flights = _blocked_by.get(self._blocked, [])
                if self._flight in flights:
                    flights.remove(self._flight)
                if not flights:
                    _blocked_by.pop(self._blocked, None)


def _reaches(flight: Flight, goals: tuple[Flight, ...], blocked: Loop | None) -> bool:
    """Whether ``flight`` can't end before one of ``goals`` does, or before the loop ``blocked`` goes on."""
    seen: set[Flight] = set()
    ahead = [flight]
    while ahead:
        one = ahead.pop()
        if one in seen or one.done:
            continue
        if one in goals or (blocked is not None and one.loop is blocked):
            return True
        seen.add(one)
        ahead += one._waits
        if one.loop is not None:
            ahead += _blocked_by.get(one.loop, ())
    return False


_graph = threading.Lock()
_blocked_by: dict[Loop, list[Flight]] = {}
_tables: weakref.WeakSet[Flights] = weakref.WeakSet()


def _after_fork() -> None:
    # Nobody in the child finishes what the parent's threads have begun.
    global _graph
    _graph = threading.Lock()
    _blocked_by.clear()
    for table in list(_tables):
        table._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
