"""All interleavings of some operations: the real generators, stepped one driver call at a time.

A schedule says who takes the next step. Schedules are walked depth first, each by doing everything again from the
start, except that the first way on from a state needs no new start; where two of them have led to the same state,
meaning the same store and the same answers to everybody, what follows is walked once and counted twice.

Values are the sets of changes that had begun when they were computed. So a reader has been served something
outdated exactly if a change that was over when the reader began is missing from what it got.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from sound_drivers import ObjectDriver

from codomyrmex.cache._codec import ObjectCodec
from codomyrmex.cache._flights import Flight
from codomyrmex.cache._keys import Keys
from codomyrmex.cache._load_context import load_options
from codomyrmex.cache._loads import Loads
from codomyrmex.cache._lookup import Lookup
from codomyrmex.cache._reads import Reads
from codomyrmex.cache._record import Record
from codomyrmex.cache._removals import Removals
from codomyrmex.cache._stats import Recorder
from codomyrmex.cache._steps import pause
from codomyrmex.cache._store import Store
from codomyrmex.cache._ttl import TTLManager
from codomyrmex.cache._writes import Writes
from codomyrmex.cache.testing import ManualClock

LEASE = 10.0
LATER = 11.0
MISSING: Any = object()
_recorder = Recorder()  # nobody looks at it, and every world would make many
Steps = Generator[Any, Any, Any]


class Wrong(AssertionError):
    """A law is broken; says by which schedule."""


class Killed(BaseException):
    """Ends a generator whose process is no more."""


class Shelf(ObjectDriver):
    """The one store that all processes share; knows which of them are dead."""

    declares = replace(ObjectDriver.declares, waits=True)

    def __init__(self, clock: ManualClock) -> None:
        self.request = SimpleNamespace(cache="c")  # type: ignore[assignment]
        self.capabilities = self.declares
        self.now = clock
        self.records = {}
        self.lock = threading.RLock()
        self.dead: set[bytes] = set()

    def keep(self, key: str, record: Record) -> Record:
        return replace(record)

    def leader_alive(self, lease: bytes) -> bool:
        return lease[:1] not in self.dead

    def wait(self, key: str, lease: bytes, timeout: float) -> None:
        """The scheduler has waited already."""


class Shell:
    """How a process of the model waits and goes on: by the scheduler."""

    inline = True

    def __init__(self, world: World) -> None:
        self._world = world

    def loop(self) -> None:
        return None

    def blocks(self) -> None:
        return None

    def wait(self, flight: Flight, timeout: float | None) -> None:
        """The scheduler has waited already."""

    def call(self, flights: Any, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def spawn(self, flight: Flight, steps: Steps, abandon: Callable[[], object]) -> bool:
        name = f"background of {self._world.running}"
        self._world.actors[name] = Actor(lambda: steps, process=self._world.actors[self._world.running].process)
        return True


class Process:
    """What one process has: a store of its own over the shared shelf, and its operations."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        counts: dict[str, int] = {}

        def bits() -> int:
            # A token says who made it; so equal states are equal, whatever happened elsewhere.
            counts[world.running] = counts.get(world.running, 0) + 1
            who = sum(ord(letter) * 31**at for at, letter in enumerate(world.running)) % 2**40
            return number + 1 + (who << 8) + (counts[world.running] << 48)

        store = Store(
            backend="shelf",
            keys=Keys("c", False),
            codec=ObjectCodec(),
            ttl=TTLManager(clock=world.clock),
            recorder=_recorder,
            random_bits=bits,
        )
        store.tagged = True
        self.flights = store.flights
        self.lookup = Lookup(store, world.shelf)
        self.reads = Reads(self.lookup, "")
        self.writes = Writes(self.lookup, self.reads)
        self.removals = Removals(self.lookup, self.reads, "")
        self.loads = Loads(self.lookup, self.reads, Shell(world))  # type: ignore[arg-type]


@dataclass
class Actor:
    """One operation.

    Attributes:
        make: Begins it.
        process: Where it runs.
        change: It is a change: what was computed before it may not be served after it.
        reads: Its result is a value, to be judged.
        steps: Its generator, once begun.
        pending: The call that is next.
        until: When it waits no longer.
        before: The changes that were over when it began.
        log: All that it has been told.
    """

    make: Callable[[], Steps]
    process: int
    change: bool = False
    reads: bool = False
    steps: Steps | None = None
    pending: Any = None
    answer: Any = None
    until: float = math.inf
    before: frozenset[str] = frozenset()
    done: bool = False
    log: list[Any] = field(default_factory=list)


class World:
    """One run.

    Args:
        fine: What a process does by itself after a call of the driver is a step of its own.
    """

    def __init__(self, *, fine: bool = False) -> None:
        self.clock = ManualClock(1000.0)
        self.shelf = Shelf(self.clock)
        self.fine = fine
        self.actors: dict[str, Actor] = {}
        self.running = "setup"
        self.begun: frozenset[str] = frozenset()
        self.over: frozenset[str] = frozenset()
        self.path: list[str] = []
        self._processes: dict[int, Process] = {}

    def process(self, number: int) -> Process:
        """A process, made when first needed."""
        if number not in self._processes:
            self._processes[number] = Process(self, number)
        return self._processes[number]

    def compute(self, *_: Any) -> frozenset[str]:
        """What every factory does: look at the source as it is now."""
        return self.begun

    def job(self, process: int, tags: tuple[str, ...] = (), late: tuple[str, ...] = (), **options: Any) -> Any:
        """A load of ``key``."""

        def choosing(context: Any) -> Any:
            context.tags |= {*late}
            return self.compute()

        checked = load_options(LEASE, 10.0, tags=tags, **options)
        return self.process(process).loads.job("key", choosing if late else lambda: self.compute(), checked)

    def enabled(self) -> list[str]:
        """Who can take a step."""
        return [name for name, actor in self.actors.items() if not actor.done and self._ready(actor)]

    def _ready(self, actor: Actor) -> bool:
        if actor.pending is None or actor.answer is not None or self.clock() >= actor.until:
            return True
        call, args = actor.pending
        if call.__name__ != "wait":
            return True
        if isinstance(args[0], Flight):
            return args[0].done
        record = self.shelf.records.get(args[0])
        return record is None or record.lease != args[1] or not self.shelf.leader_alive(args[1])

    def step(self, name: str) -> None:
        """Let one take a step."""
        self.path.append(name)
        self.running, actor = name, self.actors[name]
        if actor.steps is None:
            actor.before = self.over
            self.begun |= {name} if actor.change else set()
            actor.steps = actor.make()
            self._resume(actor, lambda steps: next(steps))
        if actor.done:
            return
        if actor.answer is None:
            call, args = actor.pending
            try:
                actor.answer = (call(*args) if call is not pause else None, None)
            except Exception as error:
                actor.answer = (None, error)
            if self.fine and call.__name__ != "call":
                actor.log.append(actor.answer)
                return
        (result, error), actor.answer = actor.answer, None
        actor.log.append(result if error is None else error)
        self._resume(actor, lambda steps: steps.send(result) if error is None else steps.throw(error))

    def _resume(self, actor: Actor, go_on: Callable[[Steps], Any]) -> None:
        assert actor.steps is not None
        try:
            actor.pending = go_on(actor.steps)
        except StopIteration as stop:
            actor.done = True
            actor.log.append(stop.value)
            # An `add` that finds something changes nothing.
            if actor.change and not (self.running == "add" and stop.value is False):
                self.over |= {self.running}
            if actor.reads:
                self.judge(actor.before, stop.value)
            return
        call, args = actor.pending
        actor.until = math.inf
        if call.__name__ == "wait":
            timeout = args[-1]
            actor.until = math.inf if timeout is None else self.clock() + timeout

    def judge(self, before: frozenset[str], value: Any) -> None:
        """Whether a value may be served to somebody who began when ``before`` was over."""
        if isinstance(value, frozenset) and not before <= value:
            missed = ", ".join(sorted(before - value))
            raise Wrong(f"{self.running} was served what had been computed before {missed}: {' > '.join(self.path)}")

    def state(self) -> Any:
        """All that decides what can follow."""
        records = tuple(sorted((key, repr(record), record.value) for key, record in self.shelf.records.items()))
        told = tuple(
            (name, one.before, one.done, one.until, repr(one.log), self._next(one))
            for name, one in sorted(self.actors.items())
        )
        flying = tuple(
            (number, *(about(flight) for flight in (*flights._newest.values(), *flights._by_lease.values())))
            for number, flights in ((number, self._processes[number].flights) for number in sorted(self._processes))
        )
        return hash((repr(records), told, flying, self.clock(), self.begun, self.over))

    def _next(self, actor: Actor) -> Any:
        if actor.done or actor.pending is None:
            return None
        call, args = actor.pending
        return call.__name__, tuple(about(one) if isinstance(one, Flight) else None for one in args)

    def alone(self, name: str, steps: Callable[[], Steps], **what: Any) -> Any:
        """Do something when nobody else is there; its result."""
        self.actors[name] = actor = Actor(steps, 9, **what)
        while not actor.done:
            assert self._ready(actor), f"{name} waits for ever after {' > '.join(self.path)}"
            self.step(name)
        return actor.log[-1]

    def finish(self) -> None:
        """After everything has ended: a load stores, and what it stores is served."""
        last, now = self.process(9), self.over
        value = self.alone("last", lambda: get_or_set(self, 9), reads=True)
        stored = self.alone("look", lambda: last.reads.get("key", MISSING), reads=True)
        if isinstance(value, frozenset) and (stored is MISSING or not now <= stored):
            raise Wrong(f"a fresh load stored {stored!r} after {' > '.join(self.path)}")

    def dispose(self) -> None:
        """End what has not ended, without letting it do anything more."""
        for actor in self.actors.values():
            while actor.steps is not None and actor.steps.gi_frame is not None:
                try:
                    actor.steps.throw(Killed())
                except (Killed, StopIteration):
                    break


def get_or_set(world: World, process: int, tags: tuple[str, ...] = (), late: tuple[str, ...] = ()) -> Steps:
    """What `Cache.get_or_set` does."""
    own = world.process(process)
    value = yield from own.reads.get("key", MISSING)
    if value is not MISSING:
        return value
    return (yield from own.loads.missed(world.job(process, tags, late)))


def about(flight: Flight) -> Any:
    """What others can notice of a flight."""
    told = (flight.started, flight.done, flight.detached, flight._deserted, flight._callers)
    return flight.key, flight.lease, told, repr(flight.outcome)


Setup = Callable[[World], None]


def explore(setup: Setup, *, fine: bool = False, most: int = 300_000) -> tuple[int, int]:
    """Walk every interleaving of what ``setup`` puts into a world; how many there are, and how many states.

    Raises:
        Wrong: One of them breaks a law.
    """
    known: dict[Any, int] = {}

    def count(schedule: tuple[str, ...], world: World) -> int:
        """How many ways there are from here on; ``world``, which has come here, goes the first of them itself."""
        state = world.state()
        if state in known:
            return known[state]
        assert len(known) < most, "more states than this test is meant for"
        ahead = world.enabled()
        left = [name for name, actor in world.actors.items() if not actor.done]
        if not ahead and left:
            if any(world.actors[name].until < math.inf for name in left):
                raise Wrong(f"the scheduler lacks a clock for {left}: {' > '.join(schedule)}")
            raise Wrong(f"{left} wait for ever: {' > '.join(schedule)}")
        if not ahead:
            world.finish()
            known[state] = 1
            return 1
        world.step(ahead[0])
        ways = count((*schedule, ahead[0]), world)
        ways += sum(walk((*schedule, name)) for name in ahead[1:])
        known[state] = ways
        return ways

    def walk(schedule: tuple[str, ...]) -> int:
        world = World(fine=fine)
        try:
            setup(world)
            for name in schedule:
                world.step(name)
            return count(schedule, world)
        finally:
            world.dispose()

    return walk(()), len(known)
